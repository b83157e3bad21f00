"""An app whose code changes: good releases and all the kinds of bad ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support import APPS

_GOOD = """
from faulty import app

VERSION = {version!r}

@app.get("/version")
def version():
    return VERSION

@app.get("/health")
def health():
    return "well"
"""


def good(version: str) -> str:
    """A release that works and says its name at /version."""
    return _GOOD.format(version=version)


BAD = {
    "syntax error": ("def app(:\n", "SyntaxError"),
    "ImportError": ("from faulty import no_such_thing\n", "ImportError"),
    "exception": ("1 / 0\n", "ZeroDivisionError"),
    "sys.exit(0)": ("import sys\nsys.exit(0)\n", "called sys.exit(0)"),
    "os._exit(1)": ("import os\nos._exit(1)\n", "exited with status 1"),
    "SIGSEGV": ("import ctypes\nctypes.string_at(0)\n", "was killed by SIGSEGV"),
    "hang": ("import time\ntime.sleep(3600)\n", "not loaded within 3 s"),
    "attribute missing": ("from faulty import app as application\n", "'app'"),
    "unreadable file": (None, "OSError"),
    "failing health check": (
        good("bad").replace('return "well"', 'return "ill", 500'),
        "answered its health check with: 500",
    ),
}
"""What is deployed, None for a file that nobody can read, and a part of what a reload says."""

APP = "release:app"

ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}
"""For clusters that serve it: a release that is as old and as long as the last is not its copy."""


class Site:
    """The folder that the app is in."""

    def __init__(self, folder: Path, version: str = "first") -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("echo.py", "faulty.py"):
            shutil.copy(APPS / name, folder)
        self._main = folder / "release.py"
        self.deploy(good(version))

    def deploy(self, source: str | None) -> None:
        """Put other code in place."""
        self._main.unlink(missing_ok=True)
        if source is None:
            self._main.symlink_to("/proc/self/mem")  # not even root can
        else:
            self._main.write_text(source)
