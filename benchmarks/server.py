"""One server under test: started, watched and ended, together with all its processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from benchmarks import accounting
from benchmarks.accounting import Stat
from benchmarks.peers import Peer, Setup
from benchmarks.probe import ask, wait_for_workers
from benchmarks.toolbox import server_environment

START_LIMIT = 30.0
"""Seconds a server gets to answer for the first time."""

STOP_LIMIT = 5.0
"""Seconds it gets to end by itself."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServerError(Exception):
    """A server did not do what was expected of it; carries the end of what it wrote."""


class Server:
    """A running server. A context manager: nothing it started is left behind."""

    def __init__(self, peer: Peer, setup: Setup, common: Path, probe: str = "/clustered") -> None:
        """``common``: a folder that all servers of a run share.

        ``probe``: the path whose first 200 means that it has started.
        """
        self.peer = peer
        self.setup = setup
        self.startup = 0.0
        """Seconds from before it was spawned to the first response."""
        self._probe = probe
        self._log = setup.folder / "log"
        self.environment = {
            **server_environment(setup.tools, common),
            **peer.environment(setup),
            **setup.environment,
        }
        self._seen: dict[int, Stat] = {}

    def __enter__(self) -> Server:
        with self._log.open("wb") as log:
            begun = time.monotonic()
            self._process = subprocess.Popen(
                self.peer.command(self.setup),
                cwd=self.setup.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        try:
            self._wait_for_first_response(begun)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the process that was started: primary, arbiter, master."""
        return self._process.pid

    @property
    def port(self) -> int:
        return self.setup.port

    def _wait_for_first_response(self, begun: float) -> None:
        while not ask(self.port, self._probe):
            if self._process.poll() is not None:
                raise self.error(f"ended with status {self._process.returncode}")
            if time.monotonic() > begun + START_LIMIT:
                raise self.error(f"did not answer within {START_LIMIT:g} s")
            time.sleep(0.002)
        self.startup = time.monotonic() - begun

    def wait_for_workers(self, without: frozenset[int] = frozenset()) -> set[int]:
        """Until as many different processes answer as it should have; their pids."""
        pids = wait_for_workers(self.port, self.setup.workers, without, START_LIMIT)
        if pids is None:
            raise self.error(f"not {self.setup.workers} workers within {START_LIMIT:g} s")
        return pids

    def error(self, what: str) -> ServerError:
        """An error with the end of the log."""
        tail = self._log.read_text(errors="replace")[-800:].strip()
        return ServerError(f"{self.peer.title} {what}\n{tail}")

    def processes(self) -> list[Stat]:
        """All that belong to it and live."""
        found = [stat for stat in accounting.family(self.pid) if stat.alive]
        self._seen |= {stat.pid: stat for stat in found}
        return found

    def cpu_seconds(self) -> float:
        """Used by all its processes until now."""
        return accounting.cpu_seconds(self.processes())

    def memory(self) -> int:
        """PSS of all its processes in bytes."""
        return accounting.memory(self.processes())

    def reload(self) -> None:
        """As its documentation says. Returns when the command does, for a signal at once."""
        if self.peer.reload is None:
            raise ValueError(f"{self.peer.title} has no reload")
        command = self.peer.reload(self.setup)
        if command[0].startswith("SIG"):
            os.kill(self.pid, signal.Signals[command[0]])
            return
        done = subprocess.run(
            command,
            cwd=self.setup.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise self.error(f"could not be reloaded: {done.stdout[-300:]}{done.stderr[-300:]}")

    def stop(self) -> None:
        """End it; what has not ended in time is killed, and only what belongs to it."""
        self.processes()
        if self._process.poll() is None:
            self._process.terminate()
        deadline = time.monotonic() + STOP_LIMIT
        while self._left() and time.monotonic() < deadline:
            self._process.poll()
            time.sleep(0.01)
        while left := self._left():
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            self._process.poll()
            time.sleep(0.01)
        self._process.wait()

    def _left(self) -> list[Stat]:
        """Those that still live, also after the first process is gone."""
        self.processes()
        return [stat for stat in self._seen.values() if _still(stat)]


def _still(known: Stat) -> bool:
    """Whether the very process lives: a pid may have been given again."""
    now = accounting.stat(known.pid)
    return now is not None and now.alive and now.started == known.started


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """In the child, before exec: its signal when this process dies without a chance to say so."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def free_port() -> int:
    """One below the range that clients get theirs from, or a client could be on it already."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20000 and 32000")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """TERM and HUP end this process as Ctrl-C does: by unwinding, which stops the servers."""

    def unwind(number: int, frame: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        _end_the_nameless()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_the_nameless() -> None:
    """An interrupt right after a fork leaves a process that nobody knows of."""
    own = os.getpid()
    while left := [stat for stat in accounting.family(own) if stat.alive and stat.pid != own]:
        for stat in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, signal.SIGKILL)
        time.sleep(0.01)
