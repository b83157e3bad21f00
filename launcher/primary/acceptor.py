"""Accepts connections and passes them to the dispatcher."""

from __future__ import annotations

import errno
import select
import socket

from launcher.primary.connections import Connections
from launcher.primary.dispatcher import Dispatcher
from launcher.primary.listeners import Listener
from launcher.primary.log import log
from launcher.primary.reactor import Reactor

# As many as are accepted before other events get their turn.
_BATCH = 64

_PAUSE = 0.1

# No descriptor or no memory to be had (accept(2)). The connection stays in the
# backlog, so the listener stays readable: polling on would spin.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts on every listener, unless there is no room for what would come in."""

    def __init__(
        self,
        reactor: Reactor,
        listeners: list[Listener],
        connections: Connections,
        dispatcher: Dispatcher,
    ) -> None:
        self._reactor = reactor
        self._listeners = {listener.sock.fileno(): listener.sock for listener in listeners}
        self._index = {fd: index for index, fd in enumerate(self._listeners)}
        self._connections = connections
        self._dispatcher = dispatcher
        self._accepting = False
        self._draining = False
        self._out_of_descriptors = False
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
            while self._accept(fd):
                pass
        self._pause()

    def _on_readable(self, fd: int, _events: int) -> None:
        for _ in range(_BATCH):
            if not self._accept(fd):
                return

    def _accept(self, fd: int) -> bool:
        """Accept one connection; False when there is none, or no room for it."""
        if self._connections.full or self._dispatcher.full:
            self._pause()
            return False
        sock = self._listeners[fd]
        try:
            # The public accept() would build and destroy a socket object per connection.
            accepted, address = sock._accept()  # type: ignore[attr-defined]
        except OSError as error:
            return self._refused(error)
        if self._out_of_descriptors:
            self._out_of_descriptors = False
            log("accepting again")
        unix = sock.family == socket.AF_UNIX
        host, port = ("", 0) if unix else address[:2]
        connection = self._connections.add(accepted, self._index[fd], host, port, exact=not unix)
        self._dispatcher.admit(connection)
        return True

    def _refused(self, error: OSError) -> bool:
        if error.errno in _NO_ROOM:
            if not self._out_of_descriptors:
                self._out_of_descriptors = True
                log(f"cannot accept: {error.strerror}; connections wait until there is room")
            self._pause()
            self._reactor.call_later(_PAUSE, self._resume)
            return False
        # Nothing there, or a connection that died before it was accepted:
        # accept(2) passes its pending network error on. Go on with the next.
        return error.errno not in (errno.EAGAIN, errno.EINTR)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for fd in self._listeners:
                self._reactor.forget(fd)

    def _resume(self) -> None:
        full = self._connections.full or self._dispatcher.full
        if not self._accepting and not self._draining and not full:
            self.start()
