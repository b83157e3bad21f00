"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.tools import Console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A shell in a folder with an app; all that it starts is ended after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    console = Console(folder, tmp_path / "home")
    yield console
    console.close()
