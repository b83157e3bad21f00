"""Which gunicorn the pool works with: versions whose internals were tested (the seam)."""

from __future__ import annotations

import re

OLDEST = (27, 0, 1)
"""The oldest version that all tests have run with."""

BELOW = (28,)
"""The next version may have other internals; ``tests/test_gunicorn_seam.py`` tells."""

REQUIREMENT = f"gunicorn>={'.'.join(map(str, OLDEST))},<{'.'.join(map(str, BELOW))}"
"""The requirement, as in the package's metadata."""


def installed_version() -> str | None:
    """The version of the gunicorn that can be imported; None: there is none."""
    try:
        from gunicorn import __version__
    except ImportError:
        return None
    return str(__version__)


def why_not(version: str | None) -> str | None:
    """One line about why the pool cannot stand on this gunicorn; None when it can.

    To install another package may replace gunicorn by another version.
    """
    if version is None:
        found = "gunicorn is not installed"
    elif OLDEST <= tuple(map(int, re.findall(r"\d+", version)[:3])) < BELOW:
        return None
    else:
        found = f"gunicorn {version} is installed, which the launcher cannot work with"
    return f"{found}: pip install '{REQUIREMENT}'"
