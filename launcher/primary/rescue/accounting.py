"""What the kernel knows about a connection: bytes written to it and consumed from it.

Written = ``tcpi_bytes_acked`` + what is still in the send queue (SIOCOUTQ);
consumed = ``tcpi_bytes_received`` - what is still in the receive queue
(FIONREAD); see tcp(7). The kernel's count includes what a killed process did
in its last moment, which no bookkeeping of ours could.

The kernel tells these four numbers one by one, and the client goes on meanwhile. Bytes that
arrive between two of the calls must not be taken for bytes that the worker has consumed; so
the calls are repeated until two rounds agree.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
import termios

from launcher.descriptors import borrowed
from launcher.policy.rescue import Figures

# struct tcp_info, linux/tcp.h: two u64 at these offsets since Linux 4.2.
_BYTES_ACKED = struct.Struct("=QQ")
_BYTES_ACKED_AT = 120
_TCP_INFO_SIZE = _BYTES_ACKED_AT + _BYTES_ACKED.size
_STATE_ESTABLISHED = 1
_STATE_CLOSE_WAIT = 8

_SIOCOUTQ = termios.TIOCOUTQ

_MOST_LOOKS = 1000
"""Rounds of calls, until two agree. The worker is dead, so only the client can still change the
numbers, and only until the buffers are full."""


def figures(fd: int) -> Figures | None:
    """The figures of the TCP connection behind ``fd``; None when the kernel has none.

    That is so for anything that is not TCP, for a kernel or sandbox without
    them, and once either side has begun to close, when a FIN counts as a byte.
    """
    try:
        with borrowed(fd) as sock:
            state, acked, received = _counts(sock)
            for _ in range(_MOST_LOOKS):
                before = state, acked, received
                unsent, unread = _queue(fd, _SIOCOUTQ), _queue(fd, termios.FIONREAD)
                state, acked, received = _counts(sock)
                if before == (state, acked, received):
                    break
            else:
                return None
    except OSError:
        return None
    if state not in (_STATE_ESTABLISHED, _STATE_CLOSE_WAIT):
        return None
    if state == _STATE_CLOSE_WAIT:
        received -= 1  # the client's FIN
    return Figures(written=acked + unsent, consumed=received - unread)


def _counts(sock: socket.socket) -> tuple[int, int, int]:
    """The state of a TCP connection, bytes acknowledged, bytes received."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    if len(info) < _TCP_INFO_SIZE:
        raise OSError(errno.ENOPROTOOPT, "a kernel before Linux 4.2")
    acked, received = _BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)
    return info[0], acked, received


def _queue(fd: int, request: int) -> int:
    size = array.array("i", [0])
    fcntl.ioctl(fd, request, size)
    return size[0]
