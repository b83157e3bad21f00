"""The connections that the primary keeps a duplicate of, and which worker has which.

Both are known here alone. A connection is *given* to the worker that it was dealt to,
*taken* from one that has returned it or is dead, and *released* by the table when it ends,
or is ended by the primary.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

# No EPOLLIN: data is the worker's business and does not wake the primary. The
# kernel adds EPOLLHUP and EPOLLERR by itself (epoll_ctl(2)), and reports one of
# them once: the connection is over then.
_HANG_UP_ONLY = select.EPOLLET | select.EPOLLONESHOT


class Connection:
    """One accepted connection, from here: a record of plain values.

    ``written`` and ``consumed``: its bytes at the last boundary where it changed hands.
    ``exact``: the kernel accounts for it (TCP). ``proxied``: what a proxy has said of the
    client, before the first request. ``rerun_at``: the consumed offset at which its request
    was run again, or -1; ``reruns``: how often that request was. ``since``: when its request
    began to wait for a thread, 0: it does not. ``held_until``: after it was dealt past a
    worker that had no room, it is not dealt so again before this time. Times are monotonic
    seconds.
    """

    __slots__ = (
        "answered",
        "consumed",
        "exact",
        "fd",
        "held_until",
        "host",
        "listener",
        "pinned",
        "port",
        "proxied",
        "rerun_at",
        "reruns",
        "serial",
        "since",
        "written",
    )

    def __init__(
        self, serial: int, fd: int, listener: int, host: str, port: int, exact: bool
    ) -> None:
        self.serial = serial
        self.fd = fd
        self.listener = listener
        self.host = host
        self.port = port
        self.exact = exact
        self.written = 0
        self.consumed = 0
        self.proxied = ""
        self.rerun_at = -1
        self.reruns = 0
        self.pinned = False
        self.answered = False
        self.since = 0.0
        self.held_until = 0.0


class Connections:
    """The table of what is kept. It alone closes the primary's duplicates, and it alone says
    which worker has a connection."""

    def __init__(self, reactor: Reactor, limit: int) -> None:
        self.limit = limit
        self.on_room: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._by_serial: dict[int, Connection] = {}
        self._by_fd: dict[int, Connection] = {}
        self._worker: dict[int, WorkerHandle] = {}
        """By serial; one that waits to be dealt is not there."""
        self._of: dict[WorkerHandle, dict[int, Connection]] = {}
        """The same from the other side: by worker and serial."""
        self._last_serial = 0

    def __len__(self) -> int:
        return len(self._by_serial)

    @property
    def accepted(self) -> int:
        """How many there have ever been."""
        return self._last_serial

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._by_serial) >= self.limit

    def get(self, serial: int) -> Connection | None:
        """The connection, unless it is closed by now."""
        return self._by_serial.get(serial)

    def add(self, fd: int, listener: int, host: str, port: int, exact: bool) -> Connection:
        """Keep the connection behind ``fd`` and watch it for hang-up.

        Raises OSError, with ``fd`` still the caller's, when it cannot be watched.
        """
        self._reactor.watch(fd, _HANG_UP_ONLY, self._on_hang_up)
        self._last_serial += 1
        connection = Connection(self._last_serial, fd, listener, host, port, exact)
        self._by_serial[connection.serial] = connection
        self._by_fd[fd] = connection
        return connection

    def worker_of(self, connection: Connection) -> WorkerHandle | None:
        """The worker that has the connection; None while it waits to be dealt, or is closed."""
        return self._worker.get(connection.serial)

    def of(self, worker: WorkerHandle) -> list[Connection]:
        """What the worker has, in the order in which it was dealt."""
        return [*self._of.get(worker, {}).values()]

    def give(self, connection: Connection, worker: WorkerHandle) -> None:
        """The worker has it from now on. Before, no other has."""
        self._worker[connection.serial] = worker
        self._of.setdefault(worker, {})[connection.serial] = connection
        worker.held += 1

    def take(self, connection: Connection) -> None:
        """No worker has it from now on. Nothing happens if none had."""
        worker = self._worker.pop(connection.serial, None)
        if worker:
            del self._of[worker][connection.serial]
            worker.held -= 1

    def take_from(self, worker: WorkerHandle, serial: int) -> Connection | None:
        """Take the connection with this serial; None if the worker does not have it, or no more."""
        connection = self._of.get(worker, {}).get(serial)
        if connection:
            self.take(connection)
        return connection

    def take_all(self, worker: WorkerHandle) -> list[Connection]:
        """Take what a dead worker had, and forget that there was such a worker."""
        taken = self.of(worker)
        for connection in taken:
            self.take(connection)
        self._of.pop(worker, None)
        return taken

    def pin(self, serial: int, *, pinned: bool, answered: bool) -> None:
        """Note whether a connection has state in its worker's memory, as it says."""
        connection = self._by_serial.get(serial)
        if connection:
            connection.pinned = pinned
            connection.answered = answered

    def introduce(self, serial: int, text: str) -> None:
        """Note what a proxy has said of a client; its worker is about to consume that."""
        connection = self._by_serial.get(serial)
        if connection:
            connection.proxied = text

    def close(self, connection: Connection) -> None:
        """Close our duplicate and forget the connection. Closing twice is fine."""
        fd = self.release(connection)
        if fd is not None:
            os.close(fd)

    def release(self, connection: Connection) -> int | None:
        """Forget the connection and hand its descriptor, no longer watched, to the caller."""
        if connection.serial not in self._by_serial:
            return None
        self._reactor.forget(connection.fd)
        self._remove(connection)
        return connection.fd

    def _remove(self, connection: Connection) -> None:
        del self._by_serial[connection.serial]
        was_full = len(self._by_serial) + 1 >= self.limit
        del self._by_fd[connection.fd]
        self.take(connection)
        if was_full:
            self.on_room()

    def _on_hang_up(self, fd: int, _events: int) -> None:
        connection = self._by_fd.get(fd)
        if connection:
            # A one-shot event has disarmed itself: one system call less.
            self._reactor.drop(fd)
            self._remove(connection)
            os.close(fd)
