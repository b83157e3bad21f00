"""Whether a loaded app can be forked: it has started nothing that only one process can have."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading


def why_not_to_fork(known_descriptors: frozenset[str]) -> str | None:
    """The reason not to fork this process now; None when there is none.

    A thread does not survive fork(2), but the locks it holds do. A connected
    socket would be shared by all workers, which would then read each other's
    answers. ``known_descriptors`` were there before the app was loaded.
    """
    return _live_threads() or _connected_sockets(known_descriptors)


def _live_threads() -> str | None:
    names = [thread.name for thread in threading.enumerate() if thread.is_alive()]
    names.remove(threading.main_thread().name)
    if names:
        return f"loading it started the thread {names[0]!r}"
    if len(os.listdir("/proc/self/task")) > 1:  # not Python's: gRPC, librdkafka, OpenBLAS…
        return "loading it started threads of a native library"
    return None


def _connected_sockets(known_descriptors: frozenset[str]) -> str | None:
    for name in frozenset(os.listdir("/proc/self/fd")) - known_descriptors:
        with contextlib.suppress(OSError):
            peer = _peer(int(name))
            if peer:
                return f"loading it opened a connection to {peer}"
    return None


def _peer(fd: int) -> str:
    """The other side of a connected socket. OSError when ``fd`` is none."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return ""
    sock = socket.socket(fileno=os.dup(fd))
    with sock:
        peer = sock.getpeername()
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return f"unix:{os.fsdecode(peer)}"
