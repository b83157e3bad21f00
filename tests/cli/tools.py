"""A user's shell: a folder with apps, commands in it, and everything ended afterwards."""

from __future__ import annotations

import builtins
import compileall
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.cli.asking.facts import status_of
from launcher.state.home import Home
from tests.support import ROOT, alive, children, eventually, online

ENV_APP = """
import json, os, signal
from launcher import current_worker

got = []
signal.signal(signal.SIGUSR2, lambda *_: got.append(1))

def app(environ, start_response):
    names = environ["QUERY_STRING"].split(",")
    value = {name: os.environ.get(name) for name in names if name}
    value |= {"id": current_worker.id, "slot": current_worker.slot, "signals": len(got)}
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
"""Tells variables (``/?NAME,NAME``), who answered, and how many USR2 it got."""

PATIENCE = 90
"""Seconds a command gets: far more than any takes here, also on a busy machine."""

Done = subprocess.CompletedProcess[str]


class Console:
    """Runs commands of the launcher in ``folder``, with a LAUNCHER_HOME of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            # An app that is changed twice in a second would stay as it was.
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAUNCHER_HOME": str(home),
        }
        self._pids: set[int] = set()
        self._begun: list[subprocess.Popen[str]] = []
        self.write("web.py", ENV_APP)
        _compile()

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def popen(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Begin a command."""
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._begun.append(process)
        return process

    def __call__(self, *arguments: str, **environ: str) -> Done:
        """Run a command to its end."""
        process = self.popen(*arguments, **environ)
        out, err = process.communicate(timeout=PATIENCE)
        self._note()
        return Done(process.args, process.returncode, out, err)

    def ok(self, *arguments: str, **environ: str) -> str:
        """What a command that succeeds prints."""
        done = self(*arguments, **environ)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refused(self, *arguments: str, status: int = 1) -> str:
        """The one line that a command fails with; nothing comes before it."""
        return told(self(*arguments), status)

    def list(self) -> dict[str, dict[str, Any]]:
        """The objects of ``list --json`` by name, without the time that a command takes."""
        home = Home.open_existing(self.environ)
        if home is None:
            return {}
        with home:
            found = [status_of(home, name) for name in home.names()]
        return {status["name"]: status for status in found if status}

    def online(self, name: str) -> builtins.list[dict[str, Any]]:
        """The workers that serve, by slot."""
        return online(self.list()[name])

    def describe(self, name: str) -> dict[str, Any]:
        """``describe --json``."""
        found: dict[str, Any] = json.loads(self.ok("describe", name, "--json"))
        return found

    def ask(self, name: str, *variables: str) -> dict[str, Any]:
        """What an app of ENV_APP answers."""
        address = self.list()[name]["bind"][0]
        return ask(address, *variables)

    def primary(self, name: str) -> int | None:
        """The pid of a running cluster."""
        with contextlib.ExitStack() as stack:
            home = Home.open_existing({"LAUNCHER_HOME": str(self.home)})
            entry = stack.enter_context(home).entry(name) if home else None
        return entry.process.pid if entry and entry.process else None

    def close(self) -> None:
        """End what runs, and see that nothing is left."""
        self._note()
        for process in self._begun:  # a test that failed may have left some
            with process:
                process.kill()
        for pid in self._pids:
            if alive(pid) and _is_ours(pid):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(alive(pid) and _is_ours(pid) for pid in self._pids), within=20)

    def _note(self) -> None:
        """Every process of the clusters there are now."""
        if not self.home.is_dir():
            return
        with contextlib.suppress(Exception):
            names = [path.parent.name for path in self.home.glob("*/lock")]
            for primary in filter(None, map(self.primary, names)):
                self._pids |= {primary}
                for pool in children(primary):
                    self._pids |= {pool, *children(pool)}


@functools.cache
def _compile() -> None:
    """Have the launcher's bytecode ready, as it is where people use it: commands are many here."""
    compileall.compile_dir(ROOT / "launcher", quiet=2)


def told(done: Done, status: int = 1) -> str:
    """The one line with which a command has failed."""
    assert done.returncode == status, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("launcher: ")
    return line.removeprefix("launcher: ")


def ask(address: str, *variables: str) -> dict[str, Any]:
    """What an app of ENV_APP answers there."""
    with urllib.request.urlopen(f"http://{address}/?{','.join(variables)}", timeout=20) as reply:
        found: dict[str, Any] = json.loads(reply.read())
    return found


def settled(console: Console, name: str, **expected: Any) -> Mapping[str, Any]:
    """The cluster's status once it has these values."""
    return eventually(lambda: _if_equal(console.list()[name], expected))


def _if_equal(status: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any] | None:
    return status if expected.items() <= status.items() else None


def _is_ours(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
