"""Whether a loaded app can be forked: it has started nothing that only one process can have."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Container, Iterator

_LOOKS = 20

_SQLITE = b"SQLite format 3\0"


def open_sockets() -> dict[str, int]:
    """This process's sockets, by the name that the kernel has for each: descriptors (proc(5))."""
    return {target: fd for fd, target in _open_files() if target.startswith("socket:")}


def why_not_to_fork(known_sockets: Container[str]) -> str | None:
    """The reason not to fork this process now; None when there is none.

    A thread does not survive fork(2), but the locks it holds do. A connected
    socket would be shared by all workers, which would then read each other's
    answers. ``known_sockets`` were open before the app was loaded. Nor may a connection
    to an SQLite database be carried across (sqlite.org/howtocorrupt.html, section 2.6).
    """
    return _live_threads() or _connection(known_sockets) or _database()


def _live_threads() -> str | None:
    names = [thread.name for thread in threading.enumerate() if thread.is_alive()]
    names.remove(threading.main_thread().name)
    if names:
        return f"loading it started the thread {names[0]!r}"
    for _ in range(_LOOKS):
        if len(os.listdir("/proc/self/task")) == 1:
            return None
        time.sleep(0.001)  # a thread that has just ended stays for a moment
    return "loading it started threads of a native library"  # gRPC, librdkafka, OpenBLAS…


def _connection(known_sockets: Container[str]) -> str | None:
    for name, fd in open_sockets().items():
        if name not in known_sockets:
            with contextlib.suppress(OSError):  # a socket that is not connected, as a listener
                return f"loading it opened a connection to {_peer(fd)}"
    return None


def _database() -> str | None:
    for fd, target in _open_files():
        with contextlib.suppress(OSError):  # a descriptor that cannot be read from
            if os.pread(fd, len(_SQLITE), 0) == _SQLITE:
                return f"loading it opened the database {target}"
    return None


def _open_files() -> Iterator[tuple[int, str]]:
    """This process's descriptors and what is behind each."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(
            OSError
        ):  # the listing itself used a descriptor that is closed by now
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


def _peer(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        peer = sock.getpeername()
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return f"unix:{os.fsdecode(peer)}" if peer else "itself"
