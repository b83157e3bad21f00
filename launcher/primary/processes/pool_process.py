"""Starts the processes of pools, the first one ahead of everything else.

Python takes as long to import what a pool needs as what a primary needs.
``python -m launcher`` therefore starts the interpreter of its first pool
before it does anything of its own: both import side by side. What to load
the pool is told later (``ipc.messages.Begin``), or never.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

from launcher import PACKAGE_ROOT

__all__ = ["FOR_PRIMARY", "PoolProcess", "ahead", "start_pool"]

FOR_PRIMARY = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Variables by which systemd passes sockets to the primary alone (sd_listen_fds(3))."""


class PoolProcess:
    """A fresh interpreter that waits on ``sock`` to be told what to load."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Raises OSError when there is no process to be had."""
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "launcher.pool", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Where this package is importable from; the pool itself goes
                    # to the app's folder. The folder we were started in may be gone.
                    cwd=PACKAGE_ROOT,
                    env=environment,
                    # Ctrl-C is for the primary, which tells the others what to do.
                    process_group=0,
                )
            except BaseException:
                self.sock.close()
                raise

    def end(self) -> None:
        """The process is not needed after all. Killed first, so that it has nothing to say."""
        self.process.kill()
        self.process.wait()
        self.sock.close()


_ahead: PoolProcess | None = None


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Start a process now, for the first `start_pool`; end it if there was none by the end.

    The process has the variables that this one was started with (but `FOR_PRIMARY`), and none
    that are set later.
    """
    global _ahead
    theirs = {name: text for name, text in os.environ.items() if name not in FOR_PRIMARY}
    with contextlib.suppress(OSError):  # `start_pool` will fail for the same reason, and tell it
        _ahead = PoolProcess(theirs)
    try:
        yield
    finally:
        unused, _ahead = _ahead, None
        if unused:
            unused.end()


def start_pool(environment: Mapping[str, str] | None) -> PoolProcess:
    """A process with these variables; None: with this process's own. Raises OSError."""
    global _ahead
    if environment is None and _ahead and _ahead.process.poll() is None:
        taken, _ahead = _ahead, None
        return taken
    return PoolProcess(environment)
