"""Commands that are expected to end by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def ended(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """How a command of the launcher, given in ``folder``, has ended."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", *arguments],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LAUNCHER_HOME": str(folder / "home"),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """The line with which a command that failed says why."""
    assert process.returncode == 1, process.stdout + process.stderr
    assert "launcher/" not in process.stderr  # no traceback of ours
    return process.stderr.splitlines()[-1]
