"""One connection, from the worker that serves it.

A request is read without being consumed (MSG_PEEK), answered, and only then
consumed: should this process die in between, the bytes are still in the
kernel for another worker. All calls carry MSG_DONTWAIT; the file itself stays
in blocking mode, because an app may use the socket directly
(``environ["gunicorn.socket"]``) and because the primary shares the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import sys
import termios

from launcher.descriptors import reset
from launcher.worker.connection import unyielding
from launcher.worker.connection.client import Client
from launcher.worker.connection.outgoing import FilePart, Outgoing
from launcher.worker.connection.phase import Broken, Phase
from launcher.worker.connection.sockets import LentSocket
from launcher.worker.request.body import Incoming

_SEND = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_PEEK = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
# tcp(7): with MSG_TRUNC the bytes are dropped in the kernel instead of copied.
_DROP = int(socket.MSG_DONTWAIT | socket.MSG_TRUNC)

_FILE_BLOCK = 1 << 20


class Connection:
    """A socket and where its client stands.

    ``written`` and ``consumed`` count all bytes since it was accepted.
    ``kept``: the primary keeps a duplicate, so state must be reported and
    closing is said with shutdown(2).
    """

    secure = False

    __slots__ = (
        "abandoned",
        "client",
        "closing",
        "consumed",
        "continued",
        "deadline",
        "events",
        "fd",
        "held",
        "incoming",
        "kept",
        "latest",
        "lent",
        "listener",
        "looked_at",
        "lowat",
        "mark",
        "missed",
        "outgoing",
        "phase",
        "pinned",
        "requests",
        "seen",
        "serial",
        "sock",
        "started",
        "unsent_parts",
        "written",
    )

    def __init__(
        self,
        sock: socket.socket,
        serial: int,
        listener: int,
        host: str,
        port: int,
        written: int = 0,
        consumed: int = 0,
        kept: bool = True,
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.serial = serial
        self.listener = listener
        self.client = Client(host, port)
        self.written = written
        self.consumed = consumed
        self.kept = kept
        self.phase = Phase.REQUEST
        self.abandoned = False
        """Whether its request took too long, so that its client has had a 504."""
        self.requests = 0
        self.seen: tuple[int, bytes] | None = None
        """`consumed` before a look ahead, and what that look has found."""
        self.held = b""
        """A response that is not sent yet; see `Outbox`."""
        self.events = 0
        """The events that the epoll watches it for; 0: not registered."""
        self.missed = False
        """Whether an event came while it was being served; see `Parking`."""
        self.pinned = False
        self.lent: LentSocket | None = None
        """The socket on which an app may talk another protocol."""
        self.closing = False
        """Whether to close once everything is sent."""
        self.continued = False
        """Whether ``100 Continue`` was sent for the request that is being read."""
        self.started = 0.0
        """When the first byte came of the request or body that is waited for; 0: not yet."""
        self.deadline = float("inf")
        self.latest = 0.0
        """The last possible deadline of a body that waits in the kernel; 0: none does."""
        self.looked_at = 0
        """Bytes of the head that were there when it was parsed last and was not complete."""
        self.mark = 0
        """From where the progress of a wait is counted: ``consumed`` when a body began, `taken`
        when the client began to read; of a request in the kernel, its bytes at the last look."""
        self.lowat = 1
        self.incoming: Incoming | None = None
        self.outgoing = Outgoing()
        self.unsent_parts = self.outgoing.parts
        """The same as `outgoing`, in a form that costs little to ask: it is, for each request."""

    @property
    def travels(self) -> bool:
        """Whether another worker can go on with this connection."""
        return self.kept and not self.pinned

    @property
    def taken_over(self) -> bool:
        """Whether the app talks another protocol here, for as long as the app likes."""
        lent = self.lent
        return lent is not None and lent.used

    @property
    def lacks_but_its_body(self) -> bool:
        """Whether the head of a request is here and its body is waited for."""
        return self.lowat > self.looked_at + 1

    def peek(self, size: int) -> bytes | None:
        """What has arrived, left in the kernel; None: nothing yet; empty: the client has closed.

        Raises Broken when the client is gone.
        """
        try:
            if unyielding.crowded and size <= unyielding.MOST:
                return unyielding.receive(self.fd, size, _PEEK)
            return self.sock.recv(size, _PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Broken from error

    def look_ahead(self, size: int) -> None:
        """Keep what has arrived for `seen_ahead`. Fine for a thread that has not claimed it."""
        consumed = self.consumed
        try:
            data = self.sock.recv(size, _PEEK)
        except OSError:
            return
        self.seen = consumed, data

    def seen_ahead(self) -> bytes:
        """What a look ahead has found, once; more may have arrived since."""
        seen, self.seen = self.seen, None
        # Thread A may have served a request after we noted `consumed` and before we looked.
        return seen[1] if seen and seen[0] == self.consumed else b""

    def pull(self, size: int) -> bytes | None:
        """As `peek`, but consumed."""
        try:
            data = self.sock.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Broken from error
        self.consumed += len(data)
        return data

    def drop(self, size: int) -> None:
        """Consume ``size`` bytes that were peeked before."""
        while size > 0:
            try:
                if unyielding.crowded:
                    dropped = unyielding.drop(self.fd, size)
                else:
                    dropped = len(self.sock.recv(size, _DROP))
            except OSError as error:
                raise Broken from error
            if not dropped:
                raise Broken("another process has read from the connection")
            self.consumed += dropped
            size -= dropped

    def wake_at(self, size: int) -> None:
        """Have the kernel report input only when ``size`` bytes are there (socket(7), SO_RCVLOWAT).

        A hint, not a promise: the end of input and a full receive buffer wake too.
        """
        if size != self.lowat:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self.lowat = size

    def is_due(self) -> bool:
        """Whether as many bytes are there as `wake_at` has asked for."""
        return len(self.peek(self.lowat) or b"") >= self.lowat

    def has_ended(self) -> bool:
        """Whether the client has said that it sends nothing more."""
        poll = select.poll()
        poll.register(self.fd, select.POLLRDHUP)
        return bool(poll.poll(0))

    def ahead(self) -> bool:
        """Whether more has arrived than the kernel knows of."""
        return False

    def lend(self) -> None:
        """Let the app talk on the socket itself.

        The app gets a duplicate, which it may use and close when it likes, in a thread of its own.
        """
        self.lent = LentSocket(fileno=os.dup(self.fd))

    def forget_request(self) -> None:
        """Drop what was kept for the request that is answered now."""
        if self.incoming:
            self.incoming.close()
            self.incoming = None
        if self.lent:
            self.lent.close()
            self.lent = None

    def send(self, data: bytes) -> bool:
        """Send all of ``data``, or keep the rest for `flush`; whether all is sent.

        Raises Broken when the client is gone.
        """
        if self.unsent_parts:
            self.keep(data)
            return self.flush()
        sent = self._send(data)
        if sent == len(data):
            return True
        self.keep(memoryview(data)[sent:])
        return False

    def offer(self, data: memoryview) -> int:
        """Send what can be sent at once of ``data``, behind what is kept; how many bytes."""
        return self._send(data) if self.flush() else 0

    def keep(self, data: bytes | memoryview) -> None:
        """Keep a copy of ``data`` for `flush`."""
        try:
            self.outgoing.keep(data)
        except OSError as error:
            raise Broken("no room for what the client has not read yet") from error

    def send_file(self, head: bytes, part: FilePart) -> bool:
        """Send ``head`` and then a piece of a file; as `send`."""
        self.send(head)
        self.outgoing.keep_file(part)
        return self.flush()

    def flush(self) -> bool:
        """Send more of what is kept; whether all is sent."""
        outgoing = self.outgoing
        while outgoing:
            part = outgoing.first()
            if isinstance(part, FilePart):
                self._flush_file(part)
            else:
                part.sent(self._send(part.left()))
            if part:
                return False
            outgoing.done()
        return True

    def taken(self) -> int:
        """Bytes of ``written`` that have reached the client (SIOCOUTQ, tcp(7)).

        Where the kernel does not tell, all count.
        """
        try:
            waiting = fcntl.ioctl(self.fd, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return self.written
        return self.written - int.from_bytes(waiting, sys.byteorder)

    def shut(self) -> None:
        """End both directions (shutdown(2)); the primary, which has a duplicate, sees that too."""
        try:  # noqa: SIM105  # once per connection; suppress() costs as much as the call
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def stop_sending(self) -> None:
        """End our direction; the caller reads and drops what the client still sends."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a reset, so that the client cannot take what it has for the whole response."""
        reset(self.fd)

    def release(self) -> None:
        """Close what this process has of the connection, which may go on in another."""
        self.outgoing.clear()
        self.forget_request()
        socket.socket.close(self.sock)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            if unyielding.crowded and type(data) is bytes:
                sent = unyielding.send(self.fd, data, _SEND)
            else:
                sent = self.sock.send(data, _SEND)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken from error
        self.written += sent
        return sent

    def _flush_file(self, part: FilePart) -> None:
        # sendfile(2) has no MSG_DONTWAIT.
        self.sock.setblocking(False)
        try:
            while part.left:
                sent = os.sendfile(self.fd, part.fd, part.offset, min(part.left, _FILE_BLOCK))
                if sent == 0:
                    raise Broken("the file is shorter than it was")
                part.offset += sent
                part.left -= sent
                self.written += sent
        except BlockingIOError:
            return
        except OSError as error:
            raise Broken from error
        finally:
            self.sock.setblocking(True)
