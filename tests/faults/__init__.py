"""Every fault that can be thought of, done to real clusters under real load."""

import pytest

pytest.register_assert_rewrite("tests.faults.tools")
