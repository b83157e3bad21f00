"""Answers probes and scrapers on the status address: small HTTP, from memory, on the one loop.

The pool is not asked, so that it cannot hold up an answer. Each connection is for one request
(RFC 9112), GET or HEAD, and has a deadline. When there are too many, the oldest gives way:
clients that connect and stay silent cannot keep a probe out.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from launcher.primary.connections.listeners import Listener
from launcher.primary.reactor import Reactor, Timer

TEXT = "text/plain; charset=utf-8"

MOST_CLIENTS = 8
"""Connections at a time. One more, and the oldest is closed."""

BACKLOG = 128
"""Connections that the kernel keeps until they are accepted (listen(2))."""

_PATIENCE = 5.0
"""Seconds from accept to close: for the request, the response, and the client's end."""

_MOST_HEAD = 8192
"""Bytes of a request line with its fields; a longer one is answered 431."""

_PAUSE = 0.1
"""Seconds without accepting when there was no descriptor to be had."""

_BLOCK = 65536

_ALLOWED = ("GET", "HEAD")


class Page(NamedTuple):
    """What is answered."""

    body: str
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Pages = Mapping[str, Callable[[str], Page]]
"""By path: makes the page, at once and without asking another process. Called with what the client
accepts: the value of its ``Accept``."""


def respond(head: bytes, pages: Pages) -> bytes:
    """The whole response to a request with this head (without the empty line that ends it)."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _response(_plain(HTTPStatus.BAD_REQUEST))
    method, target, _ = words
    page = pages.get(target.partition("?")[0])
    if page is None:
        return _response(_plain(HTTPStatus.NOT_FOUND), method)
    if method not in _ALLOWED:
        allow = f"Allow: {', '.join(_ALLOWED)}"
        return _response(_plain(HTTPStatus.METHOD_NOT_ALLOWED), method, allow)
    return _response(page(_accepted(head)), method)


def _accepted(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "accept":
            return value.strip()
    return ""


def _plain(status: HTTPStatus) -> Page:
    return Page(status.phrase + "\n", status)


def _response(page: Page, method: str = "", *extra: str) -> bytes:
    body = page.body.encode()
    fields = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *extra,
        "Connection: close",
    )
    head = ("\r\n".join(fields) + "\r\n\r\n").encode()
    return head if method == "HEAD" else head + body


class _Client:
    def __init__(self, sock: socket.socket, patience: Timer) -> None:
        self.sock = sock
        self.patience = patience
        """Hangs up when the client takes too long."""
        self.received = b""
        self.to_send = b""
        self.answered = False
        """Whether all is sent; what the client still sends is read and dropped, because closing
        with unread data would reset the connection and could destroy the response."""


class StatusServer:
    """Serves ``pages`` on a listener; all of it happens in the reactor's thread."""

    def __init__(self, reactor: Reactor, listener: Listener, pages: Pages) -> None:
        self._reactor = reactor
        self._listener = listener
        self._pages = pages
        self._clients: dict[int, _Client] = {}
        """By descriptor, the oldest first."""
        self._listens = False
        self._listen()

    def close(self) -> None:
        """Hang up on all clients and close the listener."""
        for fd in list(self._clients):
            self._hang_up(fd)
        if self._listens:
            self._reactor.forget(self._listener.sock.fileno())
        self._listens = False
        self._listener.close()

    def _listen(self) -> None:
        fd = self._listener.sock.fileno()
        if fd >= 0 and not self._listens:  # else: closed meanwhile
            self._listens = True
            self._reactor.watch(fd, select.EPOLLIN, self._on_connect)

    def _on_connect(self, fd: int, _events: int) -> None:
        try:
            sock, _ = self._listener.sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor to be had: it stays readable, so polling on would spin
            self._reactor.forget(fd)
            self._listens = False
            self._reactor.call_later(_PAUSE, self._listen)
            return
        if len(self._clients) >= MOST_CLIENTS:
            self._hang_up(next(iter(self._clients)))
        sock.setblocking(False)
        client_fd = sock.fileno()
        patience = self._reactor.call_later(_PATIENCE, lambda: self._hang_up(client_fd))
        self._clients[client_fd] = _Client(sock, patience)
        self._reactor.watch(client_fd, select.EPOLLIN, self._on_event)

    def _on_event(self, fd: int, _events: int) -> None:
        client = self._clients[fd]
        try:
            if client.to_send:
                self._send(fd, client)
            else:
                self._receive(fd, client)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(fd)

    def _receive(self, fd: int, client: _Client) -> None:
        data = client.sock.recv(_BLOCK)
        if not data:
            self._hang_up(fd)
            return
        if client.answered:
            return
        client.received += data
        head, complete, _ = client.received.partition(b"\r\n\r\n")
        if len(head) > _MOST_HEAD:
            client.to_send = _response(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        elif complete:
            client.to_send = respond(head, self._pages)
        else:
            return
        client.received = b""
        self._reactor.change(fd, select.EPOLLOUT)
        self._send(fd, client)

    def _send(self, fd: int, client: _Client) -> None:
        client.to_send = client.to_send[client.sock.send(client.to_send) :]
        if not client.to_send:
            client.answered = True
            client.sock.shutdown(socket.SHUT_WR)
            self._reactor.change(fd, select.EPOLLIN)

    def _hang_up(self, fd: int) -> None:
        client = self._clients.pop(fd)
        client.patience.cancel()
        self._reactor.forget(fd)
        with contextlib.suppress(OSError):
            client.sock.close()
