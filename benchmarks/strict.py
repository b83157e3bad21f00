"""A client that forgives nothing: each of its requests gets its own whole 200, or is a failure.

One thread and one epoll, so that it keeps up with the servers. Every connection
always has one request under way: the next is sent when the answer to the last
is complete, on the same connection unless the answer says that it closes.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

PATIENCE = 5.0
"""Seconds until a request without an answer has failed."""

PAUSE = 0.05
"""Seconds until a connection that was refused is tried again."""

_TICK = 0.02
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"(?:^|\n)content-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"(?:^|\n)connection: *close", re.IGNORECASE)


@dataclass
class Books:
    """What the client has seen."""

    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return self.failures.total()


@dataclass(frozen=True)
class Answer:
    """One response, read to its end."""

    status: int
    body: bytes
    closes: bool
    size: int
    """Of head and body."""


def parse(received: bytes | bytearray) -> Answer | None:
    """The response at the beginning of what was received; None while it is incomplete.

    ValueError when it is no response, or none with a length.
    """
    head = _HEAD.match(received)
    if not head:
        if not b"HTTP/1.1 ".startswith(bytes(received[:9])):
            raise ValueError("not a response")
        return None
    length = _LENGTH.search(head[2])
    if not length:
        raise ValueError("no length")
    size = head.end() + int(length[1])
    if len(received) < size:
        return None
    body = bytes(received[head.end() : size])
    return Answer(int(head[1]), body, bool(_CLOSES.search(head[2])), size)


class _Connection:
    """One connection's request under way."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.received = bytearray()
        self.since = 0.0
        """When its request was sent, or when it may be tried again."""


class StrictClient:
    """Asks from when it is entered until it is left; then `books` are closed."""

    def __init__(
        self, port: int, connections: int = 64, path: str = "/clustered", body: bytes = b"Running"
    ) -> None:
        """``body``: what every body begins with."""
        self.books = Books()
        self._address = ("127.0.0.1", port)
        self._body = body
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._connections = [_Connection() for _ in range(connections)]
        self._by_fd: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="strict client")

    def __enter__(self) -> StrictClient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        begun = looked = time.monotonic()
        self._look_after(begun)
        with self._epoll:
            while not self._stopping.is_set():
                for fd, _ in self._epoll.poll(_TICK):
                    # None: closed meanwhile, because of an earlier event.
                    if connection := self._by_fd.get(fd):
                        self._receive(connection)
                now = time.monotonic()
                if now >= looked + _TICK:
                    looked = now
                    self._look_after(now)
            for connection in self._connections:
                self._close(connection)
        self.books.seconds = time.monotonic() - begun

    def _look_after(self, now: float) -> None:
        """Open what is closed, give up what takes too long."""
        for connection in self._connections:
            if connection.socket is None:
                if now >= connection.since:
                    self._open(connection, now)
            elif now > connection.since + PATIENCE:
                self._failed(connection, "no answer in time")

    def _open(self, connection: _Connection, now: float) -> None:
        try:
            connection.socket = socket.create_connection(self._address, PATIENCE)
        except OSError as error:
            self.books.failures[f"connect: {error.strerror or error}"] += 1
            connection.since = now + PAUSE
            return
        connection.socket.setblocking(False)
        connection.received.clear()
        self._by_fd[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        assert connection.socket is not None
        connection.since = time.monotonic()
        try:
            connection.socket.send(self._request)
        except OSError:
            self._failed(connection, "closed before the request")

    def _receive(self, connection: _Connection) -> None:
        assert connection.socket is not None
        try:
            part = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        connection.received += part
        if not part:
            kind = "closed within the response" if connection.received else "closed instead"
            self._failed(connection, kind)
            return
        try:
            answer = parse(connection.received)
        except ValueError as error:
            self._failed(connection, str(error))
            return
        if answer:
            self._judge(connection, answer)

    def _judge(self, connection: _Connection, answer: Answer) -> None:
        if answer.status != 200:
            self._failed(connection, f"status {answer.status}")
        elif not answer.body.startswith(self._body) or answer.size != len(connection.received):
            self._failed(connection, "another answer")
        else:
            self.books.answered += 1
            connection.received.clear()
            if answer.closes:
                self._close(connection)
                self._open(connection, time.monotonic())
            else:
                self._send(connection)

    def _failed(self, connection: _Connection, kind: str) -> None:
        self.books.failures[kind] += 1
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if connection.socket is not None:
            del self._by_fd[connection.socket.fileno()]
            with contextlib.suppress(OSError):
                connection.socket.close()
            connection.socket = None
            connection.since = 0.0
