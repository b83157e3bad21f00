"""A connection under TLS, from the worker that serves it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import threading
from typing import Any

from gunicorn import sock as gunicorn_sock

from launcher.worker.connection.connection import Connection
from launcher.worker.connection.outgoing import Block, FilePart
from launcher.worker.connection.phase import Broken, Phase
from launcher.worker.connection.sockets import LentSocket, Unclosable

_RECORD = 16 * 1024
"""Bytes that a TLS record holds at most."""


class SecureSocket(Unclosable, ssl.SSLSocket):
    """The socket of a connection under TLS."""


_FILES = ("certfile", "keyfile", "ca_certs")


class NoTLS(Exception):
    """TLS is asked for and cannot be had; one line says why, with the setting's name."""


def tls_context(cfg: Any) -> ssl.SSLContext | None:
    """What gunicorn's settings ask for; None: no TLS. Raises NoTLS when it cannot be had."""
    if not cfg.is_ssl:
        return None
    try:
        context: ssl.SSLContext = gunicorn_sock.ssl_context(cfg)
    except Exception as error:  # the user's ssl_context hook raises what it likes
        raise NoTLS(f"TLS cannot be set up: {_what_is_wrong(cfg, error)}") from error
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = SecureSocket
    return context


def _what_is_wrong(cfg: Any, error: Exception) -> str:
    """``error``, with the names of the files, which Python's ssl leaves out."""
    files = {setting: path for setting in _FILES if (path := getattr(cfg, setting))}
    for setting, path in files.items():
        try:
            open(path, "rb").close()
        except OSError as unreadable:
            return f"{setting} {path}: {unreadable.strerror}"
    if "certfile" not in files:
        return "keyfile is set and certfile is not"
    texts = (getattr(error, "reason", None), getattr(error, "strerror", None), *error.args)
    reason = next((text for text in texts if isinstance(text, str)), type(error).__name__)
    plain = re.sub(r" \(_ssl\.c:\d+\)", "", reason).replace("_", " ")
    return f"{plain} ({', '.join(f'{setting} {path}' for setting, path in files.items())})"


class SecureConnection(Connection):
    """A connection under TLS.

    Its bytes are decrypted into this process, so from the first byte on no other worker
    can have the connection. No call blocks: a client that is slow with its handshake,
    or with anything else, costs no thread either.
    """

    __slots__ = ("_arrived", "_ended", "_lender", "_lock", "_other_end", "_tls")

    secure = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.phase = Phase.HANDSHAKE
        self._tls: ssl.SSLSocket | None = None
        self._lock = threading.RLock()
        """OpenSSL allows one thread at a time, and there are two; see `lend`."""
        self._lender: threading.Thread | None = None
        self._other_end: socket.socket | None = None
        """The other end of the pair whose one end is `lent`."""
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
        """As `Connection.peek`. A failure of TLS counts as the client's end of input."""
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
        """Nothing: a thread that has not claimed the connection must not read, as that decrypts."""

    def lend(self) -> None:
        """As `Connection.lend`; the app gets a socket without TLS, and our thread carries over."""
        theirs, ours = socket.socketpair()
        self.lent, self._other_end = LentSocket(fileno=theirs.detach()), ours
        self._lender = threading.Thread(target=self._carry, args=(ours,), daemon=True)
        self._lender.start()

    def forget_request(self) -> None:
        """As `Connection.forget_request`, when what the app has sent is on its way."""
        super().forget_request()
        if self._lender and self._other_end:
            with contextlib.suppress(OSError):
                # The app may have left a duplicate of its end open.
                self._other_end.shutdown(socket.SHUT_RDWR)
            self._lender.join()
            self._lender = self._other_end = None

    def shut(self) -> None:
        """As `Connection.shut`, after TLS's own goodbye."""
        self._say_goodbye()
        super().shut()

    def stop_sending(self) -> None:
        """As `Connection.stop_sending`; what still comes is dropped as it is, encrypted."""
        self._say_goodbye()
        super().stop_sending()

    def _say_goodbye(self) -> None:
        if self._tls:
            # Sends close_notify; the client's is not waited for.
            with self._lock, contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()
            self._tls = None
            self._arrived.clear()

    def _send(self, data: bytes | memoryview) -> int:
        rest = memoryview(data)
        with self._lock:
            try:
                while rest:
                    # The next call has to begin with the bytes that did not go out, and with no
                    # fewer (SSL_write(3ssl)): they are at the start of a block that is kept.
                    sent = self.sock.send(rest[: Block.SIZE])
                    rest = rest[sent:]
                    self.written += sent
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError as error:
                raise Broken from error
        return len(data) - len(rest)

    def _flush_file(self, part: FilePart) -> None:
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
                return

    def _carry(self, ours: socket.socket) -> None:
        """Carry bytes between the app's socket and the client, until either ends."""
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
        """Send what the app has sent, while the client takes it; False: the app has ended.

        ``everything``: the app has hung up, so nothing comes after this.
        """
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
            with contextlib.suppress(
                BrokenPipeError
            ):  # the app has left; what it sent is still to go out
                ours.sendall(data)
        return data is None
