"""One end of a connection between two processes of the cluster.

``SOCK_SEQPACKET`` keeps record boundaries, so a record is a message and there
is no framing; descriptors travel beside it as ``SCM_RIGHTS`` (unix(7)). The
end of file is how either side learns that the other is dead, at once and with
no heartbeat. It is only true while no third process holds the other end: a
process that forks closes its copies (``pool/arbiter.py``).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
from collections.abc import Sequence

MAX_MESSAGE = 128 * 1024
"""Bytes; the kernel refuses records over the socket's send buffer (208 KiB by default)."""

MAX_DESCRIPTORS = 16

# The other side is behind or this user has too many descriptors in flight (unix(7),
# ETOOMANYREFS): try again later, or another worker.
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})

_NONBLOCKING = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RECEIVE = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_RIGHTS_SPACE = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)


_arrived = bytearray(MAX_MESSAGE)
"""Where records arrive, one at a time: no process receives in two threads at once."""


class ChannelClosed(Exception):
    """The other side has closed its end: its process is dead or leaving."""


class Channel:
    """A non-blocking record socket that carries descriptors."""

    __slots__ = ("_sock", "fd")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.fd = sock.fileno()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel for this process and the bare socket to hand to the other."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, record: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Send one record whole; False when the other side is behind.

        Raises ChannelClosed when the other side is gone.
        """
        try:
            if descriptors:
                rights = struct.pack(f"{len(descriptors)}i", *descriptors)
                message = (socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)
                self._sock.sendmsg((record,), (message,), _NONBLOCKING)
            else:
                self._sock.send(record, _NONBLOCKING)
        except OSError as error:
            if error.errno in _FULL:
                return False
            if error.errno in _GONE:
                raise ChannelClosed from None
            raise
        return True

    def receive(self) -> tuple[bytearray, list[int]] | None:
        """The next record and the descriptors that came with it; None when there is none yet.

        The caller owns the descriptors. Fewer may arrive than were sent when
        this process has no room for more (MSG_CTRUNC).
        Raises ChannelClosed at end of file.
        """
        try:
            size, rights, flags, _ = self._sock.recvmsg_into((_arrived,), _RIGHTS_SPACE, _RECEIVE)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # The other side has closed without reading all we said. That is told
            # once, and first; what it said before is still to be had.
            return self.receive()
        except OSError as error:
            if error.errno in _GONE:
                raise ChannelClosed from None
            raise
        if size == 0 or flags & socket.MSG_TRUNC:  # none of ours is as long as that
            raise ChannelClosed
        descriptors: list[int] = []
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors += struct.unpack(f"{len(data) // 4}i", data)
        return _arrived[:size], descriptors

    def hung_up(self) -> bool:
        """Whether the other side is gone; there may still be something to receive."""
        if self._sock.fileno() < 0:
            return True
        looking = select.poll()
        looking.register(self.fd, 0)  # POLLHUP is told in any case (poll(2))
        return bool(looking.poll(0))

    def send_surely(self, record: bytes) -> None:
        """As `send`, but wait for the other side to catch up. Only where waiting is no harm."""
        if self.send(record):
            return
        writable = select.poll()
        writable.register(self.fd, select.POLLOUT)
        while not self.send(record):
            writable.poll()

    def say_no_more(self) -> None:
        """Let the other side see end of file; it can still be heard."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """Let both sides see end of file; each then closes its end."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; the other side sees end of file. Closing twice is fine."""
        self._sock.close()
