"""Starts clusters in the background, and waits until they are ready or have failed.

The other side is ``primary/background.py``. What a cluster is started with
goes there in a file in memory; what comes of it comes back on a pipe, as one
reply of the control protocol, or as the pipe's end.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from launcher import PACKAGE_ROOT
from launcher.cli.asking.deadlines import time_to_start
from launcher.cli.starting.progress import Progress
from launcher.config.address import parse_bind, url
from launcher.config.marks import new_mark
from launcher.config.settings import Settings
from launcher.control.client import Refused
from launcher.control.protocol import MAX_REPLY, ProtocolError, parse_reply
from launcher.errors import LauncherError
from launcher.places import state_path
from launcher.state.cluster_folder import already_running
from launcher.state.home import Entry, Home

__all__ = ["Starting", "starting"]

TIME_TO_END = 5.0
"""Seconds a cluster that is not to be gets to end in an orderly way."""


class Starting:
    """A cluster on its way to be ready."""

    def __init__(self, settings: Settings) -> None:
        """Raises LauncherError when it cannot even be tried."""
        self._before = _entry_unless_running(settings.name)
        mark = new_mark(settings)
        inherited = _inherited(settings)
        self.settings = settings
        self.deadline = time.monotonic() + time_to_start(settings)
        self._received = b""
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process = _spawn(settings, mark, theirs, inherited)
        except OSError as error:
            os.close(self._pipe)
            raise LauncherError(f"no process could be started: {error.strerror}") from None
        finally:
            os.close(theirs)

    @property
    def waits(self) -> tuple[str, str, float]:
        """Its name, its app, and when it would be given up."""
        return self.settings.name, self.settings.app, self.deadline

    def fileno(self) -> int:
        """Readable when there is something to tell."""
        return self._pipe

    def read(self) -> bool:
        """Take what has come; whether all has."""
        data = os.read(self._pipe, 65_536)
        self._received += data
        return not data or data.endswith(b"\n") or len(self._received) > MAX_REPLY

    def outcome(self) -> str | LauncherError:
        """What to tell; once all has come."""
        name = self.settings.name
        try:
            reply = parse_reply(self._received)
        except ProtocolError:
            self._end()
            ended = self._process.returncode
            return LauncherError(f"{name}: its primary ended with status {ended} as it started")
        if not reply.ok:
            self._end()
            return Refused(reply.error, reply.detail)
        self._process.returncode = 0  # it is not ours to wait for
        return f"started {name} (pid {self._process.pid}){_where(reply.result)}"

    def give_up(self) -> LauncherError:
        """It takes too long, or is not wanted any more: leave nothing running."""
        self._process.terminate()
        self._end()
        _undo(self.settings.name, self._before)
        seconds = time_to_start(self.settings)
        return LauncherError(f"{self.settings.name} was not ready within {seconds:g} s: ended it")

    def close(self) -> None:
        """Release the pipe; end the primary if it was not waited for."""
        os.close(self._pipe)
        if self._process.returncode is None:
            self.give_up()

    def _end(self) -> None:
        """Wait for the end of a process that is at it already."""
        try:
            self._process.wait(TIME_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def starting(everything: Sequence[Settings]) -> Iterator["Starts"]:
    """Start clusters; end those again whose outcome is not known when the block ends."""
    starts = Starts()
    try:
        for settings in everything:
            starts.add(settings)
        yield starts
    finally:
        starts.close()


class Starts:
    """Several clusters on their way, and what has come of them."""

    def __init__(self) -> None:
        self._pending: dict[int, Starting] = {}
        self._outcomes: dict[str, str | LauncherError] = {}
        self._progress = Progress()

    def add(self, settings: Settings) -> None:
        """Start one more."""
        try:
            one = Starting(settings)
        except LauncherError as error:
            self._outcomes[settings.name] = error
        else:
            self._pending[one.fileno()] = one

    def wait(self) -> dict[str, str | LauncherError]:
        """By name, what has come of each; when it is known of all."""
        poll = select.poll()
        for fd in self._pending:
            poll.register(fd, select.POLLIN)
        while self._pending:
            deadline = min(one.deadline for one in self._pending.values())
            soon = min(deadline, time.monotonic() + self._progress.interval)
            for fd, _ in poll.poll(max(0.0, soon - time.monotonic()) * 1000):
                if self._pending[fd].read():
                    poll.unregister(fd)
                    self._settle(self._pending[fd].outcome(), fd)
            for fd, one in list(self._pending.items()):
                if time.monotonic() >= one.deadline:
                    poll.unregister(fd)
                    self._settle(one.give_up(), fd)
            self._progress.show([one.waits for one in self._pending.values()])
        return self._outcomes

    def close(self) -> None:
        """Release everything."""
        for one in self._pending.values():
            one.close()

    def _settle(self, outcome: str | LauncherError, fd: int) -> None:
        one = self._pending.pop(fd)
        self._outcomes[one.settings.name] = outcome
        one.close()


def _entry_unless_running(name: str) -> Entry | None:
    """What there is of that name. LauncherError, to tell it at once, if it runs.

    What counts is the lock, which the new process takes or does not get.
    """
    with Home.open() as home:
        entry = home.entry(name)
    if entry and entry.process:
        raise LauncherError(already_running(name, entry.process))
    return entry


def _undo(name: str, before: Entry | None) -> None:
    """Leave all as it was, when a process has ended before it could do that itself."""
    with suppress(LauncherError), Home.open() as home, home.claim(name) as folder:
        if before is None:
            folder.release(forget=True)
        elif before.settings:
            folder.write_app_json(before.settings)


def _inherited(settings: Settings) -> list[int]:
    """The descriptors it is to listen on. LauncherError for one that we do not have."""
    addresses = [address for address in map(parse_bind, settings.bind) if address.kind == "fd"]
    for address in addresses:
        try:
            os.fstat(address.fd)
        except OSError:
            raise LauncherError(
                f"cannot listen on {address}: descriptor {address.fd} is not open:"
                " pass a socket as it, or choose another address with --bind"
            ) from None
    return [address.fd for address in addresses]


def _spawn(
    settings: Settings, mark: str, report: int, inherited: Sequence[int]
) -> "subprocess.Popen[bytes]":
    with os.fdopen(os.memfd_create("plan", os.MFD_CLOEXEC), "w") as plan:
        json.dump({"settings": settings.to_json(), "mark": mark}, plan)
        plan.flush()
        passed = (plan.fileno(), report)
        return subprocess.Popen(
            [sys.executable, "-m", "launcher.primary.background", *map(str, passed)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(*passed, *inherited),
            cwd=PACKAGE_ROOT,
            env={**os.environ, "LAUNCHER_HOME": state_path(os.environ)},
            # No terminal: its end is not ours.
            start_new_session=True,
        )


def _where(result: Any) -> str:
    match result:
        case {"bind": [*addresses], "workers": int(workers)}:
            where = ", ".join(url(str(address)) for address in addresses)
            return f": {where}, {workers} worker{'s' * (workers != 1)}"
    return ""
