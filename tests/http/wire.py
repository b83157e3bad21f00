"""A client that sends exactly the bytes it is told to, and is strict about what comes back."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from typing import Self

TIMEOUT = 20.0
"""Seconds for any single wait; nothing here should take a tenth of it."""


class NotAResponse(AssertionError):
    """The server sent something that is no HTTP/1.1 response."""


class Unanswered(EOFError):
    """The server has closed after an interim response."""


@dataclass(frozen=True)
class Response:
    """One whole response. ``fields`` have lower-case names; ``interim`` are the 1xx before it."""

    version: str
    status: int
    fields: dict[str, str]
    body: bytes
    interim: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The body of a test app's answer."""
        return self.body.decode()

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection after this."""
        return self.fields.get("connection") == "close"


class Wire:
    """One connection. Nothing is sent or read that a test does not ask for."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        timeout: float = TIMEOUT,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``receive_buffer``: a small one makes a client that reads slowly."""
        self.sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        self.sock.settimeout(timeout)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if isinstance(address, tuple):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(address)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, answered or not."""
        self.sock.close()

    def reset(self) -> None:
        """Leave without a word: the server sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, *parts: bytes) -> Self:
        """Send each part on its own."""
        for part in parts:
            self.sock.sendall(part)
        return self

    def send_what_it_takes(self, data: bytes) -> None:
        """Send, to a server that may have stopped listening."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def hurry(self) -> Self:
        """Read as fast as can be from here on."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        return self

    def finish(self) -> Self:
        """Say that nothing more will be sent (half-close)."""
        with contextlib.suppress(OSError):  # the server may be gone already
            self.sock.shutdown(socket.SHUT_WR)
        return self

    def get(self, path: str, *fields: str, method: str = "GET") -> Self:
        """Send a request without a body."""
        return self.send(head(method, path, *fields))

    def ask(self, path: str, *fields: str, method: str = "GET") -> Response:
        """`get`, and its response."""
        return self.get(path, *fields, method=method).response(method)

    def post(self, path: str, body: bytes, *fields: str) -> Self:
        """Send a request with a body of known length."""
        return self.send(head("POST", path, f"Content-Length: {len(body)}", *fields) + body)

    def response(self, method: str = "GET") -> Response:
        """The next response to a request with ``method``."""
        interim = []
        while True:
            version, status, fields = self._head()
            if status >= 200 or status == 101:
                break
            interim.append(status)
            if not self._received and not self._more():
                raise Unanswered(f"nothing after {interim}")
        has_body = method != "HEAD" and status not in (101, 204, 304)
        body = self._body(fields) if has_body else b""
        return Response(version, status, fields, body, interim)

    def responses(self) -> list[Response]:
        """Every response until the server closes. A last ``100 Continue`` alone is none."""
        found = []
        while self._received or self._more():
            try:
                found.append(self.response())
            except Unanswered:
                break
        return found

    def interim(self) -> int:
        """The status of the next head, which must be a 1xx."""
        _, status, fields = self._head()
        assert status < 200
        assert not fields
        return status

    def rest(self) -> bytes:
        """Everything until the server closes in an orderly way."""
        while self._more():
            pass
        data = bytes(self._received)
        self._received.clear()
        return data

    def is_closed(self) -> bool:
        """Wait until the server has closed; nothing may come before that."""
        rest = self.rest()
        assert rest == b"", rest
        return True

    def is_cut(self) -> bool:
        """Wait until the connection ends with a reset."""
        try:
            self.rest()
        except ConnectionResetError:
            return True
        return False

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._received) < size:
            if not self._more():
                raise EOFError(f"{len(self._received)} of {size} bytes")
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def line(self) -> bytes:
        """A line, without its CRLF."""
        while (end := self._received.find(b"\r\n")) < 0:
            if not self._more():
                raise EOFError(f"in the middle of a line: {self._received!r}")
        return self.read(end + 2)[:-2]

    def _more(self) -> bool:
        data = self.sock.recv(1 << 20)
        self._received += data
        return bool(data)

    def _head(self) -> tuple[str, int, dict[str, str]]:
        first = self.line()
        version, _, rest = first.decode("latin-1").partition(" ")
        status, space, _ = rest.partition(" ")
        if version not in ("HTTP/1.0", "HTTP/1.1") or len(status) != 3 or not space:
            raise NotAResponse(repr(first))
        fields: dict[str, str] = {}
        while line := self.line():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or name.strip() != name:
                raise NotAResponse(repr(line))
            fields[name.lower()] = value.strip()
        return version, int(status), fields

    def _body(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") == "chunked":
            assert "content-length" not in fields
            return self._chunks()
        if "content-length" in fields:
            return self.read(int(fields["content-length"]))
        return self.rest()

    def _chunks(self) -> bytes:
        pieces = []
        while size := int(self.line(), 16):
            pieces.append(self.read(size))
            assert self.read(2) == b"\r\n"
        assert self.line() == b""
        return b"".join(pieces)


def head(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    """The head of a request; with a Host, unless ``fields`` say something about it."""
    lines = [f"{method} {path} HTTP/{version}", *fields]
    if not any(line.lower().startswith("host:") for line in fields):
        lines.insert(1, "Host: test")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(*pieces: bytes, extension: str = "", trailers: str = "") -> bytes:
    """A body in chunked coding (RFC 9112 section 7.1)."""
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension.encode(), p) for p in pieces)
    return chunks + f"0\r\n{trailers}\r\n".encode()
