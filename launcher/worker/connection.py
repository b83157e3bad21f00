"""One connection, from the worker that serves it.

A request is read without being consumed (MSG_PEEK), answered, and only then
consumed: should this process die in between, the bytes are still in the
kernel for another worker. All calls carry MSG_DONTWAIT; the file itself stays
in blocking mode, because an app may use the socket directly
(``environ["gunicorn.socket"]``) and because the primary shares the file.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import tempfile
import threading
from collections import deque
from enum import Enum, auto
from typing import Any

from gunicorn import sock as gunicorn_sock

from launcher.descriptors import reset
from launcher.worker.request import Incoming

_SEND = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_PEEK = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
# tcp(7): with MSG_TRUNC the bytes are dropped in the kernel instead of copied.
_DROP = int(socket.MSG_DONTWAIT | socket.MSG_TRUNC)

_FILE_BLOCK = 1 << 20

_IN_MEMORY = 1 << 20
"""Bytes of a streamed response that wait for a slow client in memory; the rest does in a file."""

_PIECES_IN_MEMORY = 64

_RECORD = 16 * 1024
"""Bytes that a TLS record holds at most."""


class Phase(Enum):
    """What a parked connection waits for."""

    HANDSHAKE = auto()
    """The first byte of a TLS connection. Until then it is like any other."""
    REQUEST = auto()
    """The rest of a request that stays in the kernel, or its first byte."""
    BODY = auto()
    """The rest of a request that is pulled into this process."""
    FLUSH = auto()
    """The client to read the rest of a response."""
    LINGER = auto()
    """The client to close; see `Connection.end`."""


class Broken(Exception):
    """The connection cannot go on: the client is gone, or must not take what it has for whole.

    Not an OSError: an app has ConnectionErrors of its own, which are answered 500.
    """


class FilePart:
    """A piece of a file that is to be sent. Owns its descriptor."""

    __slots__ = ("fd", "left", "offset")

    def __init__(self, fd: int, offset: int, left: int) -> None:
        self.fd = fd
        self.offset = offset
        self.left = left

    def __len__(self) -> int:
        return self.left


class Spool(FilePart):
    """A file that grows at one end while it is sent from the other."""

    __slots__ = ()

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            super().__init__(os.dup(file.fileno()), 0, 0)

    def write(self, data: bytes) -> None:
        """Add to it. Raises Broken when there is no room."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self.fd, rest, self.offset + self.left)
                self.left += written
                rest = rest[written:]
        except OSError as error:
            raise Broken("no room for what the client has not read yet") from error


class _Ours:
    """A socket that an app cannot close: our descriptor would come to mean another connection.

    We can, by ``socket.socket.close``.
    """

    __slots__ = ()

    def close(self: Any) -> None:
        """End the connection, which is what the app means."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)

    def detach(self: Any) -> int:
        """A descriptor that is the caller's."""
        return os.dup(self.fileno())


class Socket(_Ours, socket.socket):
    """The socket of a connection."""

    __slots__ = ()

    def dup(self) -> Any:
        """One that is the caller's."""
        return socket.socket(self.family, self.type, self.proto, fileno=self.detach())


class SecureSocket(_Ours, ssl.SSLSocket):
    """The socket of a connection under TLS."""


class LentSocket(socket.socket):
    """What an app may talk on itself, and close when it likes. Notes whether it does."""

    used = False

    def __getattribute__(self, name: str) -> Any:
        """Whatever can be done with it begins here."""
        if name != "used" and not name.startswith("__"):
            self.used = True
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        """To show it is not to use it: error pages and logs do."""
        return object.__repr__(self)


class Connection:
    """A socket and where its client stands.

    ``written`` and ``consumed`` count all bytes since it was accepted.
    ``kept``: the primary keeps a duplicate, so state must be reported and
    closing is said with shutdown(2).
    """

    secure = False

    __slots__ = (
        "abandoned",
        "closing",
        "consumed",
        "continued",
        "deadline",
        "events",
        "fd",
        "held",
        "host",
        "incoming",
        "kept",
        "lent",
        "listener",
        "looked_at",
        "lowat",
        "mark",
        "missed",
        "outgoing",
        "phase",
        "pinned",
        "port",
        "port_text",
        "requests",
        "seen",
        "serial",
        "sock",
        "started",
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
        self.host = host
        self.port = port
        self.port_text = str(port)
        self.written = written
        self.consumed = consumed
        self.kept = kept
        self.phase = Phase.REQUEST
        self.abandoned = False
        """Whether its request took too long and is no longer waited for."""
        self.requests = 0
        self.seen: tuple[int, bytes] | None = None
        """What a look ahead has found, and ``consumed`` as it was before that."""
        self.held = b""
        """A response that is not sent yet; see `Outbox`."""
        self.events = 0
        """What the epoll watches it for; 0: not registered."""
        self.missed = False
        """Whether an event came while it was being served."""
        self.pinned = False
        self.lent: LentSocket | None = None
        """What an app that may talk another protocol was given to talk on."""
        self.closing = False
        """Whether to close once everything is sent."""
        self.continued = False
        """Whether ``100 Continue`` was sent for the request that is being read."""
        self.started = 0.0
        """When the first byte of what is being waited for came; 0: not yet."""
        self.deadline = float("inf")
        self.looked_at = 0
        """Bytes of the head that were there when it was last parsed, in vain."""
        self.mark = 0
        """``consumed`` or ``written`` when what is being waited for began."""
        self.lowat = 1
        self.incoming: Incoming | None = None
        self.outgoing: deque[memoryview | FilePart] = deque()

    @property
    def taken_over(self) -> bool:
        """Whether the app talks another protocol on it, for as long as it likes."""
        lent = self.lent
        return lent is not None and lent.used

    def peek(self, size: int) -> bytes | None:
        """What has arrived, left where it is; None: nothing yet; empty: the client has closed.

        Raises Broken when the client is gone.
        """
        try:
            return self.sock.recv(size, _PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Broken from error

    def look_ahead(self, size: int) -> None:
        """Keep what has arrived for `seen_ahead`. Whoever has not claimed it may do this."""
        consumed = self.consumed
        try:
            data = self.sock.recv(size, _PEEK)
        except OSError:
            return
        self.seen = consumed, data

    def seen_ahead(self) -> bytes:
        """What a look ahead has found, once; more may have arrived since."""
        seen, self.seen = self.seen, None
        # Somebody may have served a request between the noting of `consumed` and the look.
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
                dropped = len(self.sock.recv(size, _DROP))
            except OSError as error:
                raise Broken from error
            if not dropped:
                raise Broken("somebody else has read from the connection")
            self.consumed += dropped
            size -= dropped

    def wake_at(self, size: int) -> None:
        """Be readable only when ``size`` bytes are there (socket(7), SO_RCVLOWAT).

        A hint, not a promise: the end of input and a full receive buffer wake too.
        """
        if size != self.lowat:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self.lowat = size

    def is_due(self) -> bool:
        """Whether what is being waited for is there."""
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

        It gets a duplicate, which it may use and close when it likes, in a thread of its own.
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
        if self.outgoing:
            self._keep(data)
            return self.flush()
        sent = self._send(data)
        if sent == len(data):
            return True
        self.outgoing.append(memoryview(data)[sent:])
        return False

    def send_file(self, head: bytes, part: FilePart) -> bool:
        """Send ``head`` and then a piece of a file; as `send`."""
        self.outgoing += (memoryview(head), part)
        return self.flush()

    def flush(self) -> bool:
        """Send more of what is kept; whether all is sent."""
        while self.outgoing:
            part = self.outgoing[0]
            done = self._flush_file(part) if isinstance(part, FilePart) else self._flush_view(part)
            if not done:
                return False
            self.outgoing.popleft()
        return True

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return sum(map(len, self.outgoing))

    def shut(self) -> None:
        """Say that no more is coming, in either direction; the primary hears it too."""
        try:  # noqa: SIM105  # once per connection; suppress() costs as much as the call
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def stop_sending(self) -> None:
        """Say that no more is coming from here; what the client still sends is read and dropped."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a reset, so that the client cannot take what it has for the whole response."""
        reset(self.fd)

    def release(self) -> None:
        """Close what this process has of the connection; it may live on elsewhere."""
        if self.outgoing:
            for part in self.outgoing:
                if isinstance(part, FilePart):
                    os.close(part.fd)
            self.outgoing.clear()
        self.forget_request()
        socket.socket.close(self.sock)

    def _keep(self, data: bytes) -> None:
        last = self.outgoing[-1]
        if not isinstance(last, Spool):
            few = len(self.outgoing) < _PIECES_IN_MEMORY
            if few and self.unsent() + len(data) <= _IN_MEMORY:
                self.outgoing.append(memoryview(data))
                return
            last = Spool()
            self.outgoing.append(last)
        last.write(data)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            sent = self.sock.send(data, _SEND)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken from error
        self.written += sent
        return sent

    def _flush_view(self, view: memoryview) -> bool:
        sent = self._send(view)
        if sent < len(view):
            self.outgoing[0] = view[sent:]
            return False
        return True

    def _flush_file(self, part: FilePart) -> bool:
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
            return False
        except OSError as error:
            raise Broken from error
        finally:
            self.sock.setblocking(True)
        os.close(part.fd)
        return True


def tls_context(cfg: Any) -> ssl.SSLContext | None:
    """What gunicorn's settings ask for; None: no TLS. Raises OSError when it cannot be had."""
    if not cfg.is_ssl:
        return None
    context: ssl.SSLContext = gunicorn_sock.ssl_context(cfg)
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = SecureSocket
    return context


class SecureConnection(Connection):
    """A connection under TLS.

    What has arrived is decrypted into this process, so once its first byte is
    here it cannot travel. No call blocks: a client that is slow with its
    handshake, or with anything else, costs no thread either.
    """

    __slots__ = ("_arrived", "_ended", "_lender", "_lock", "_other_end", "_tls")

    secure = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.phase = Phase.HANDSHAKE
        self._tls: ssl.SSLSocket | None = None
        self._lock = threading.RLock()
        """OpenSSL does not stand two threads; see `lend`."""
        self._lender: threading.Thread | None = None
        self._other_end: socket.socket | None = None
        """Of what is `lent`."""
        self._arrived = bytearray()
        self._ended = False

    def begin(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on. The handshake takes place by reading."""
        sock = self.sock
        bare = socket.socket(sock.family, sock.type, sock.proto, fileno=socket.socket.detach(sock))
        try:
            self._tls = context.wrap_socket(bare, server_side=True, do_handshake_on_connect=False)
            self._tls.setblocking(False)
        except OSError as error:
            raise Broken from error
        self.sock = self._tls

    def peek(self, size: int) -> bytes | None:
        """As `Connection.peek`. A failure of TLS is the client's end."""
        if self._tls is None:
            return super().peek(size)
        with self._lock:
            while len(self._arrived) < size and not self._ended:
                try:
                    data = self._tls.recv(_RECORD)
                except ssl.SSLWantReadError:
                    break
                except OSError:
                    data = b""
                self._ended = not data
                self._arrived += data
            if self._arrived:
                return bytes(self._arrived[:size])
            return b"" if self._ended else None

    def pull(self, size: int) -> bytes | None:
        """As `Connection.pull`."""
        if self._tls is None:
            return super().pull(size)
        with self._lock:
            data = self.peek(size)
            self.drop(len(data or b""))
            return data

    def drop(self, size: int) -> None:
        """As `Connection.drop`."""
        if self._tls is None:
            super().drop(size)
        else:
            del self._arrived[:size]
            self.consumed += size

    def wake_at(self, size: int) -> None:
        """Note it only: what the kernel counts is not what will be read."""
        self.lowat = size

    def ahead(self) -> bool:
        """As `Connection.ahead`."""
        return bool(self._tls and (self._arrived or self._tls.pending()))

    def look_ahead(self, size: int) -> None:
        """What has arrived is not to be read by who has not claimed it: that decrypts it."""

    def lend(self) -> None:
        """As `Connection.lend`; the app gets a socket without TLS, which we carry on."""
        theirs, ours = socket.socketpair()
        self.lent, self._other_end = LentSocket(fileno=theirs.detach()), ours
        self._lender = threading.Thread(target=self._carry, args=(ours,), daemon=True)
        self._lender.start()

    def forget_request(self) -> None:
        """As `Connection.forget_request`, when what the app has sent is on its way."""
        super().forget_request()
        if self._lender and self._other_end:
            with contextlib.suppress(OSError):
                # The app may have left a duplicate of its end open, somewhere.
                self._other_end.shutdown(socket.SHUT_RDWR)
            self._lender.join()
            self._lender = self._other_end = None

    def shut(self) -> None:
        """As `Connection.shut`, after saying so within TLS."""
        self._say_goodbye()
        super().shut()

    def stop_sending(self) -> None:
        """As `Connection.stop_sending`; what still comes is dropped as it is, encrypted."""
        self._say_goodbye()
        super().stop_sending()

    def _say_goodbye(self) -> None:
        if self._tls:
            # Sends close_notify; theirs is not waited for.
            with self._lock, contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()
            self._tls = None
            self._arrived.clear()

    def _send(self, data: bytes | memoryview) -> int:
        rest = memoryview(data)
        with self._lock:
            try:
                while rest:
                    sent = self.sock.send(rest)
                    rest = rest[sent:]
                    self.written += sent
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError as error:
                raise Broken from error
        return len(data) - len(rest)

    def _flush_file(self, part: FilePart) -> bool:
        while part.left:
            try:
                data = os.pread(part.fd, min(part.left, _RECORD), part.offset)
            except OSError as error:
                raise Broken from error
            if not data:
                raise Broken("the file is shorter than it was")
            sent = self._send(data)
            part.offset += sent
            part.left -= sent
            if sent < len(data):
                return False
        os.close(part.fd)
        return True

    def _carry(self, ours: socket.socket) -> None:
        """Between the app's socket and the client, until either ends."""
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        poll.poll()  # until the app begins to talk, the request is like any other
        poll.register(self.fd, select.POLLIN)
        hung_up = False
        with ours, contextlib.suppress(OSError, Broken):
            while self._carry_out(ours, hung_up) and self._carry_in(ours):
                flushed = self.flush()
                poll.modify(ours, select.POLLIN if flushed else 0)
                poll.modify(self.fd, select.POLLIN if flushed else select.POLLIN | select.POLLOUT)
                hung_up = any(
                    events & select.POLLHUP for fd, events in poll.poll() if fd != self.fd
                )

    def _carry_out(self, ours: socket.socket, everything: bool) -> bool:
        """What the app has sent, if the client takes it, or if it is the last of it."""
        while everything or not self.outgoing:
            try:
                data = ours.recv(_RECORD, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data:
                return False
            self.send(data)
        return True

    def _carry_in(self, ours: socket.socket) -> bool:
        while data := self.pull(_RECORD):
            with contextlib.suppress(BrokenPipeError):  # it has left; what it sent is to go out
                ours.sendall(data)
        return data is None
