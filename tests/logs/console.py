"""A command line over clusters that have stopped, and a ``logs -f`` that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from launcher.logs.files import Limits, LogFile
from launcher.logs.folder import make_folder
from tests.support import ROOT, eventually


class Console:
    """A LAUNCHER_HOME with clusters that have stopped, and a command line."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "LAUNCHER_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.environment.pop("NO_COLOR", None)
        self.environment["TERM"] = "xterm"

    def log(self, name: str, source: str = "0", size: int = 1000, keep: int = 3) -> LogFile:
        """A log file of a cluster."""
        folder = self.home / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.home, folder):
            path.chmod(0o700)
        (folder / "lock").touch()
        fd = os.open(folder, os.O_RDONLY)
        try:
            return LogFile(make_folder(fd, str(folder)), source, Limits(size, keep))
        finally:
            os.close(fd)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "launcher", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def lines(self, *arguments: str) -> list[str]:
        done = self.run("logs", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def refuses(self, *arguments: str, status: int = 1) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("launcher: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("launcher: ").strip()


class Following:
    """A ``logs -f`` that runs."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Shells have what they start in the background ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str, within: float = 20) -> None:
        """Until a line holds ``text``."""
        eventually(lambda: any(text in line for line in self.lines), within)

    def stop(self) -> tuple[int, str]:
        """As with Ctrl-C: exit status and stderr."""
        self.process.send_signal(signal.SIGINT)
        self._thread.join(20)
        assert self.process.stdout
        assert self.process.stderr
        with self.process.stdout, self.process.stderr as stderr:
            return self.process.wait(20), stderr.read()
