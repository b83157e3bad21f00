"""Clusters in the background, and log files without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.logs.files import Limits, LogFile
from tests.logs.console import Console, Following
from tests.support import Cluster, StartCluster

HERE = Path(__file__).parent


@pytest.fixture
def start_background(start_cluster: StartCluster) -> StartCluster:
    """``start_background("-w", "2")``: runs chatty.py with its logs in files."""

    def start(*arguments: str, **options: Any) -> Cluster:
        command = (sys.executable, str(HERE / "background.py"))
        options.setdefault("folder", HERE / "apps")
        return start_cluster("chatty:app", *arguments, prefix=command, **options).ready()

    return start


class Folder:
    """A log folder of the test's own."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        self._files: list[LogFile] = []

    def log(self, source: str = "0", size: int = 1000, keep: int = 2, **options: Any) -> LogFile:
        """A log file in it, for a writer of its own."""
        self._files.append(LogFile(self.fd, source, Limits(size, keep), **options))
        return self._files[-1]

    def read(self, name: str = "0.log") -> str:
        """The text of a file."""
        return (self.path / name).read_text()

    def names(self) -> list[str]:
        """The files that are not hidden."""
        return sorted(entry.name for entry in self.path.iterdir() if entry.name[0] != ".")

    def everything(self, source: str = "0") -> str:
        """The text of all files of a source, the oldest first."""
        files = self.path.glob(f"{source}.log*")
        order = sorted(files, key=lambda path: -int(path.name.rpartition("log")[2].strip(".") or 0))
        return "".join(path.read_text() for path in order)

    def size(self) -> int:
        """Bytes of everything in it, also what is hidden."""
        total = 0
        for entry in os.scandir(self.fd):
            try:
                total += os.stat(entry.name, dir_fd=self.fd).st_size
            except FileNotFoundError:  # it is just being rotated
                continue
        return total

    def close(self) -> None:
        """Close everything."""
        for file in self._files:
            file.close()
        os.close(self.fd)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A log folder."""
    folder = Folder(tmp_path / "logs")
    yield folder
    folder.close()


@pytest.fixture
def console(home: Path) -> Console:
    """A command line, and a home of its own."""
    return Console(home)


@pytest.fixture
def follow(console: Console) -> Iterator[Any]:
    """``follow(*arguments)``: begins a ``logs -f``."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        command = console.command("logs", "-f", *arguments)
        started.append(Following(command, console.environment))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.stop()
