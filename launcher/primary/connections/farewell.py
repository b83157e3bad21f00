"""Connections that end here: the last words are sent, the rest is read and dropped.

Closing a socket with unread data makes the kernel send a reset, which may
destroy the response before the client has read it (RFC 9112 section 9.6). So
the sending side is shut first and the connection stays until the client has
closed, has sent too much, or the time is up.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import OrderedDict

from launcher.descriptors import reset
from launcher.primary.reactor import Reactor
from launcher.refusals import status_of

_LINGER = 2.0
_LAST_LINGER = 0.25
_MOST_READ = 1 << 20


class Farewell:
    """The connections that are being closed in an orderly way."""

    def __init__(self, reactor: Reactor, most: int) -> None:
        """``most``: for more connections than that at once, the oldest are closed early."""
        self.refused = dict.fromkeys((502, 503, 504), 0)
        """Error responses since the start of the cluster, by status."""
        self._reactor = reactor
        self._most = most
        self._linger = _LINGER
        self._leaving: OrderedDict[int, tuple[socket.socket, float]] = OrderedDict()
        self._read: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def answer(self, fd: int, response: bytes) -> None:
        """Send ``response`` and close. ``fd`` is ours from here on.

        Nothing was sent for this request before, so the response fits the
        socket's buffer; what does not would be cut, and the client can tell.
        """
        sock = socket.socket(fileno=fd)
        with contextlib.suppress(OSError):
            if response:
                self.refused[status_of(response)] += 1
                sock.send(response, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            sock.shutdown(socket.SHUT_WR)
        if len(self._leaving) >= self._most:
            self._end(next(iter(self._leaving)))
        self._leaving[fd] = (sock, self._reactor.clock() + self._linger)
        self._read[fd] = 0
        self._reactor.watch(fd, select.EPOLLIN, self._on_readable)
        if len(self._leaving) == 1:
            self._reactor.call_later(self._linger, self._expire)

    def cut(self, fd: int) -> None:
        """Close with a reset: what the client has is not the whole response."""
        reset(fd)
        os.close(fd)

    def hurry(self) -> None:
        """The cluster stops: wait for each client for a quarter of a second only, from now on."""
        self._linger = _LAST_LINGER
        latest = self._reactor.clock() + _LAST_LINGER
        for fd, (sock, deadline) in self._leaving.items():
            self._leaving[fd] = (sock, min(deadline, latest))
        self._reactor.call_at(latest, self._expire)

    def close(self) -> None:
        """Hang up at once on all clients that still read their last response."""
        for fd in list(self._leaving):
            self._end(fd)

    def _on_readable(self, fd: int, _events: int) -> None:
        sock, _ = self._leaving[fd]
        try:
            size = len(sock.recv(65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._read[fd] += size
        if size == 0 or self._read[fd] > _MOST_READ:
            self._end(fd)

    def _expire(self) -> None:
        now = self._reactor.clock()
        while self._leaving:
            fd, (_, deadline) = next(iter(self._leaving.items()))
            if deadline > now:
                self._reactor.call_at(deadline, self._expire)
                return
            self._end(fd)

    def _end(self, fd: int) -> None:
        sock, _ = self._leaving.pop(fd)
        del self._read[fd]
        self._reactor.forget(fd)
        sock.close()
