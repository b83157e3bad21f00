"""Policy ``kernel``: the workers accept from the listening sockets themselves."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from launcher.ipc.scoreboard import Row
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking
from launcher.worker.connection.secure import SecureConnection
from launcher.worker.connection.sockets import Socket

_ACCEPTABLE = select.EPOLLIN | select.EPOLLEXCLUSIVE

_SOME = 32
"""Idle connections that are closed when there is no room for a new one."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Accepting:
    """The listening sockets of one worker; none with another policy. For all of its threads."""

    def __init__(
        self,
        parking: Parking,
        row: Row,
        log: Any,
        *,
        secure: bool,
        first_wait: float,
        shed: Callable[[int], None],
    ) -> None:
        """``first_wait``: seconds that a new client has for its request. ``shed`` closes so
        many idle connections."""
        self._parking = parking
        self._row = row
        self._log = log
        self._kind = SecureConnection if secure else Connection
        self._first_wait = first_wait
        self._shed = shed
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._cannot = False
        self._unwatched: set[int] = set()
        """The listeners that have connections for which there was no room, or no thread."""
        self._changing = threading.Lock()
        """For ``_listeners`` and ``_unwatched``, which the main and a serving thread change."""

    def __contains__(self, fd: int) -> bool:
        return fd in self._listeners

    def begin(self, descriptors: list[int]) -> None:
        """Accept from these listening sockets from now on."""
        for index, fd in enumerate(descriptors):
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            self._listeners[fd] = (listener, index)
            self._parking.watch(fd, _ACCEPTABLE)

    def accept(self, fd: int) -> Connection | None:
        """Accept a connection for the caller; None: another worker has it, or there is no room."""
        listener, index = self._listeners.get(fd, (None, 0))
        if listener is None:
            return None
        try:
            accepted, address = listener.accept()
        except OSError as error:  # taken by another worker, or died in the backlog
            if error.errno in _NO_ROOM:
                self._shed(_SOME)
                self._tell(error)
                self.pause(fd)
            return None
        if self._cannot:
            self._cannot = False
            self._log.info("accepting again")
        return self._entered(accepted, address, index)

    def pause(self, fd: int) -> None:
        """Leave new connections in the backlog, and unreported: else each look reports them."""
        with self._changing:
            if fd in self._listeners:
                self._parking.ignore(fd)
                self._unwatched.add(fd)

    def resume(self) -> None:
        """Accept again from all sockets."""
        with self._changing:
            while self._unwatched:
                fd = self._unwatched.pop()
                if fd in self._listeners:
                    self._parking.watch(fd, _ACCEPTABLE)

    def end(self, final: bool) -> None:
        """Accept no more. ``final``: nor does another worker, so empty the backlog first."""
        with self._changing:
            while self._listeners:  # a thread may be about to accept on one
                fd, (listener, index) = self._listeners.popitem()
                self._parking.ignore(fd)
                if final:
                    self._accept_the_rest(listener, index)
                listener.close()

    def _accept_the_rest(self, listener: socket.socket, index: int) -> None:
        """Empty the backlog: the kernel resets what is in it when the last process closes it."""
        with contextlib.suppress(OSError):  # the backlog is empty, or there is no room
            while True:
                self._parking.enter(self._entered(*listener.accept(), index), first=False)
        self._parking.nudge()

    def _entered(self, accepted: socket.socket, address: Any, index: int) -> Connection:
        sock = Socket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        sock.setblocking(True)
        host, port = address[:2] if isinstance(address, tuple) else ("", 0)
        conn = self._kind(sock, 0, index, host, port, kept=False)
        conn.deadline = time.monotonic() + self._first_wait
        self._row.connections += 1
        return conn

    def _tell(self, error: OSError) -> None:
        if not self._cannot:
            self._cannot = True
            self._log.warning(
                "cannot accept: %s; connections wait until there is room", error.strerror
            )
