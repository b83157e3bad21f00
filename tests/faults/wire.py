"""A client that sends exactly the bytes it is told to, and is strict about what comes back."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Self

Address = tuple[str, int] | str
"""Of TCP, or the path of a unix socket."""


@dataclass(frozen=True)
class Reply:
    """A whole response. ``fields`` have lower-case names."""

    status: int
    fields: dict[str, str]
    text: str


class Wire:
    """One connection."""

    def __init__(self, address: Address, timeout: float = 30, receive_buffer: int = 0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
        except OSError:
            self.close()
            raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, answered or not."""
        self.sock.close()

    def send(self, data: bytes) -> Self:
        """Send these bytes."""
        self.sock.sendall(data)
        return self

    def get(self, path: str, *fields: str) -> Self:
        """Send a GET."""
        return self.send(request("GET", path, *fields))

    def post(self, path: str, body: bytes = b"", *fields: str) -> Self:
        """Send a POST."""
        return self.send(request("POST", path, f"Content-Length: {len(body)}", *fields) + body)

    def reply(self) -> Reply:
        """The next response. EOFError when the connection ends before it is complete."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = int(fields["content-length"])
        while len(self._received) < size:
            self._receive()
        body, self._received = self._received[:size], self._received[size:]
        return Reply(int(status), fields, body.decode())

    def ask(self, path: str = "/echo/x") -> Reply:
        """Send a GET and wait for its answer."""
        return self.get(path).reply()

    def rest(self) -> bytes:
        """Everything up to the end of the connection. ConnectionResetError when that is a reset."""
        while data := self.sock.recv(65536):
            self._received += data
        received, self._received = self._received, b""
        return received

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"closed after {self._received!r}")
        self._received += data


def request(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def get(address: Address, path: str = "/echo/x", timeout: float = 30) -> Reply:
    """Ask once; the server closes the connection after the answer and sends nothing more."""
    with Wire(address, timeout) as wire:
        reply = wire.get(path, "Connection: close").reply()
        assert wire.rest() == b""
        return reply


def worker_of(reply: Reply) -> int:
    """The id of the worker that gave an answer of /echo."""
    assert reply.status == 200, reply
    return int(reply.text.split()[2])
