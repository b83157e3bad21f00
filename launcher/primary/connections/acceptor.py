"""Accepts connections and passes them to the dispatcher."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence

from launcher.events.cluster import AcceptFailed, AcceptResumed
from launcher.ipc.channel import MAX_DESCRIPTORS
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.dispatcher import Dispatcher
from launcher.primary.connections.listeners import Listener
from launcher.primary.journal import note
from launcher.primary.reactor import Reactor, Timer

_BATCH = MAX_DESCRIPTORS
"""Connections accepted before they are dealt and other events get their turn: as many as fit into
one message."""

_PAUSE = 0.1
"""Seconds until it is tried again to accept, after there was no descriptor or no room."""

_NOTHING_THERE = frozenset({errno.EAGAIN, errno.EINTR})

# accept(2) passes on what happened to a connection before it was accepted. Go on with the next.
_DIED_BEFORE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)


class Acceptor:
    """Accepts on every listener, unless there is no room for what would come in."""

    def __init__(
        self,
        reactor: Reactor,
        listeners: Sequence[Listener],
        connections: Connections,
        dispatcher: Dispatcher,
        make_room: Callable[[bool], None],
    ) -> None:
        """``make_room(none_left)`` is called after each batch with False, and with True when a
        connection could not be accepted."""
        self._reactor = reactor
        self._listeners = {
            entry.sock.fileno(): (entry.sock, index, entry.sock.family != socket.AF_UNIX)
            for index, entry in enumerate(listeners)
        }
        """By descriptor: the socket, its index, whether the kernel accounts for its bytes."""
        self._connections = connections
        self._dispatcher = dispatcher
        self._make_room = make_room
        self._accepting = False
        self._draining = False
        self._cannot = False
        self._next_look: Timer | None = None
        connections.on_room = dispatcher.on_room = self._resume

    def start(self) -> None:
        """Accept from now on."""
        self._accepting = True
        for fd in self._listeners:
            self._reactor.watch(fd, select.EPOLLIN, self._on_readable)

    def drain(self) -> None:
        """Accept what is in the backlog already, then no more."""
        self._draining = True
        for fd in self._listeners:
            while self._accept_batch(fd):
                pass
        self._pause()

    def _on_readable(self, fd: int, _events: int) -> None:
        self._accept_batch(fd)

    def _accept_batch(self, fd: int) -> bool:
        """Accept and deal what is there, as far as there is room; whether there may be more."""
        batch: list[Connection] = []
        more = all(self._accept(fd, batch) for _ in range(_BATCH))
        self._dispatcher.admit_all(batch)
        self._make_room(False)
        return more

    def _accept(self, fd: int, batch: list[Connection]) -> bool:
        """Accept one connection; False when there is none, or no room for it."""
        if self._connections.full:
            self._make_room(True)
        if self._connections.full or self._dispatcher.full:
            self._pause()
            self._look_again()
            return False
        sock, index, exact = self._listeners[fd]
        try:
            # The public accept() would build and destroy a socket object per connection.
            accepted, address = sock._accept()  # type: ignore[attr-defined]
        except OSError as error:
            return self._refused(error)
        if self._cannot:
            self._cannot = False
            note(AcceptResumed())
        host, port = address[:2] if exact else ("", 0)
        try:
            batch.append(self._connections.add(accepted, index, host, port, exact))
        except OSError as error:  # the kernel has no room for it (epoll_ctl(2))
            os.close(accepted)
            return self._refused(error)
        return True

    def _refused(self, error: OSError) -> bool:
        if error.errno in _DIED_BEFORE:
            return True
        if error.errno not in _NOTHING_THERE:
            if not self._cannot:
                self._cannot = True
                note(AcceptFailed(error.strerror or str(error)))
            # What cannot be accepted stays in the backlog, so the listener stays
            # readable: polling on would spin.
            self._make_room(True)
            self._pause()
            self._reactor.call_later(_PAUSE, self._resume)
        return False

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for fd in self._listeners:
                self._reactor.forget(fd)

    def _look_again(self) -> None:
        """Look at the queue again later: of the requests that wait in workers no message tells
        when they are fewer."""
        if self._dispatcher.full and not self._next_look:
            self._next_look = self._reactor.call_later(_PAUSE, self._look)

    def _look(self) -> None:
        self._next_look = None
        self._resume()
        if not self._accepting and not self._draining:
            self._look_again()

    def _resume(self) -> None:
        full = self._connections.full or self._dispatcher.full
        if not self._accepting and not self._draining and not full:
            self.start()
