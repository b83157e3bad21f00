"""Descriptors: how many a process may have, and what to do with one that is only lent."""

import contextlib
import ctypes
import resource
import socket
import struct
from collections.abc import Iterator

_libc = ctypes.CDLL(None)
_NOBODY = struct.pack("=H14x", socket.AF_UNSPEC)


def raise_limit() -> int:
    """Raise this process's soft limit to the hard one (getrlimit(2)); what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """The socket behind ``fd``, which stays open and its owner's."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def reset(fd: int) -> None:
    """End a connection with a reset: its client cannot take what came before for the whole.

    At once, also while other processes hold the file (connect(2), AF_UNSPEC); a FIN
    before it would look like the end of an HTTP/1.0 response. Where there are no
    resets it just ends.
    """
    if _libc.connect(fd, _NOBODY, len(_NOBODY)):
        with borrowed(fd) as sock, contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
