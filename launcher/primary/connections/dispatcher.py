"""Deals connections to workers, and holds those that no worker can take yet.

A connection may be held here because there is no worker (all are being replaced), because
the channels of all are full, or because the worker that had it gave it back and the others
have no room just now. A request on it has a clock from when it began to wait, wherever
that was (``Connection.since``); after ``--queue-timeout`` it is answered 503. A kept
connection that is idle has none: it is watched for input, and ends by FIN where no
worker will come, because an unasked 503 would be taken for the answer to its next request.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence

from launcher import refusals
from launcher.descriptors import borrowed
from launcher.ipc.messages import Deal
from launcher.policy.scheduling import Policy
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.farewell import Farewell
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer

_RETRY = 0.1
"""Seconds between looks at those that wait: a worker whose channel was full does not say when it
has caught up."""

_BETWEEN = 0.1
"""Seconds. A connection that two workers have given back within 0.1 s waits here until the 0.1 s
are over, instead of being sent round in circles."""


class Dispatcher:
    """Chooses a worker for each connection and hands it over."""

    def __init__(
        self,
        reactor: Reactor,
        connections: Connections,
        farewell: Farewell,
        policy: Policy,
        queue_timeout: float,
        queue_size: int,
    ) -> None:
        self.on_room: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._connections = connections
        self._farewell = farewell
        self._policy = policy
        self._queue_timeout = queue_timeout
        self._queue_size = queue_size
        self._ring: list[WorkerHandle] = []
        self._hopeless = False
        self._last_slot = -1
        self._waiting: OrderedDict[int, Connection] = OrderedDict()
        self._next_look: Timer | None = None

    def __len__(self) -> int:
        """Requests that wait for a thread, here and in the workers."""
        return self.held + sum(worker.row.waiting for worker in self._ring)

    @property
    def held(self) -> int:
        """Those of them that wait here."""
        return sum(connection.since > 0 for connection in self._waiting.values())

    @property
    def full(self) -> bool:
        """Whether no more should be accepted for now."""
        elsewhere = sum([worker.row.waiting for worker in self._ring])
        return len(self._waiting) + elsewhere >= self._queue_size

    def serve_with(self, ring: list[WorkerHandle], hopeless: bool) -> None:
        """Deal to these workers from now on, in this order; first what has waited.

        ``hopeless``: no worker will come, so no connection needs to wait.
        """
        self._ring = ring
        self._hopeless = hopeless
        if ring and self._waiting:
            self._deal_waiting()
        if hopeless:
            self._end_all()

    def admit_all(self, connections: Sequence[Connection]) -> None:
        """Deal what was accepted together, with one record to each worker that gets any."""
        if self._waiting or not self._ring:
            for connection in connections:
                self.admit(connection)
            return
        chosen: dict[WorkerHandle, list[Connection]] = {}
        for connection in connections:
            worker = self._choose(self._ring, connection)
            chosen.setdefault(worker, []).append(connection)
        for worker, theirs in chosen.items():
            if not self._hand_over(worker, theirs):
                for connection in theirs:
                    self.admit(connection)

    def admit(self, connection: Connection) -> None:
        """Deal a connection, behind those that wait already, or let it wait."""
        self._deal_waiting()
        if self._others_come_first() or not self._deal(connection):
            self._let_wait(connection)

    def readmit(self, connection: Connection, returned_by: WorkerHandle) -> None:
        """Deal a connection that a worker gave back.

        ``returned_by``: that worker, which has too many connections or no thread for this
        request. A request goes to another worker with a free thread, an idle connection to the
        one with the fewest connections: not by policy, and never back at once.
        """
        now = self._reactor.clock()
        if connection.since and len(self) > self._queue_size:
            self._refuse(connection)
            return
        soon = now < connection.held_until
        connection.held_until = now + _BETWEEN
        if soon or not self._deal_to_another(connection, returned_by):
            self._let_wait(connection)

    def _let_wait(self, connection: Connection) -> None:
        if not connection.since and not connection.consumed:
            connection.since = self._reactor.clock()  # the client will ask, or has
        self._waiting[connection.serial] = connection
        if self._hopeless:
            self._end_all()
        else:
            self._look_later()

    def _others_come_first(self) -> bool:
        """Whether connections wait that no worker can take.

        Those that were just given back do not count: they wait for one of the *other* workers.
        """
        now = self._reactor.clock() if self._waiting else 0.0
        return any(connection.held_until <= now for connection in self._waiting.values())

    def deal_apart(
        self, connection: Connection, taken: Collection[WorkerHandle], begins: bool
    ) -> bool:
        """Deal a connection past those that wait; False when no worker takes it.

        It goes to the worker with the least to do that is not in ``taken``; with ``begins``
        only if that has a free thread.
        """
        others = [worker for worker in self._ring if worker not in taken]
        for worker in sorted(others, key=WorkerHandle.load):
            if begins and worker.room() <= 0:
                return False
            worker.promise()
            if self._hand_over(worker, (connection,)):
                return True
        return False

    def _deal(self, connection: Connection) -> bool:
        ring = self._ring
        while ring:
            worker = self._choose(ring, connection)
            if self._hand_over(worker, (connection,)):
                return True
            ring = [other for other in ring if other is not worker]
        return False

    def _choose(self, ring: list[WorkerHandle], connection: Connection) -> WorkerHandle:
        worker = ring[self._policy(ring, self._last_slot, connection.host)]
        self._last_slot = worker.slot
        worker.promise()
        return worker

    def _hand_over(self, worker: WorkerHandle, connections: Sequence[Connection]) -> bool:
        """Pass on what was promised, all or nothing; False when the worker is behind or gone."""
        deals = [
            Deal(
                connection.serial,
                connection.written,
                connection.consumed,
                connection.listener,
                connection.port,
                connection.consumed == connection.rerun_at,
                connection.since,
                connection.host,
                connection.proxied,
            )
            for connection in connections
        ]
        if not worker.hand_over(deals, [connection.fd for connection in connections]):
            return False
        for connection in connections:
            connection.since = 0.0
            self._connections.give(connection, worker)
        return True

    def _deal_to_another(self, connection: Connection, worker: WorkerHandle) -> bool:
        others = [other for other in self._ring if other is not worker]
        if connection.since:
            others = [other for other in others if other.room() > 0]
            others.sort(key=lambda other: (other.load(), other.connections))
        else:
            others.sort(key=lambda other: other.connections)
        for other in others:
            other.promise()
            if self._hand_over(other, (connection,)):
                return True
        return False

    def _deal_waiting(self) -> None:
        if not self._waiting:
            return
        now = self._reactor.clock()
        with self._room_told():
            for serial, connection in list(self._waiting.items()):
                if self._connections.get(serial) is None:  # the client has hung up
                    del self._waiting[serial]
                elif connection.held_until <= now:
                    if not self._deal(connection):
                        break
                    del self._waiting[serial]

    def _look_later(self) -> None:
        if self._next_look is None:
            self._next_look = self._reactor.call_later(_RETRY, self._look)

    def _look(self) -> None:
        self._next_look = None
        self._deal_waiting()
        now = self._reactor.clock()
        with self._room_told():
            for serial, connection in list(self._waiting.items()):
                if not connection.since and _has_input(connection.fd):
                    connection.since = now
                elif connection.since and now - connection.since >= self._queue_timeout:
                    del self._waiting[serial]
                    self._end(connection)
        if self._waiting:
            self._look_later()

    def _end_all(self) -> None:
        with self._room_told():
            while self._waiting:
                self._end(self._waiting.popitem(last=False)[1])

    def _end(self, connection: Connection) -> None:
        """Answer 503 where there is a request, or will be; else only close."""
        if not connection.consumed or _has_input(connection.fd):
            self._refuse(connection)
        else:
            self._say_farewell(connection, b"")

    def _refuse(self, connection: Connection) -> None:
        self._say_farewell(connection, refusals.UNAVAILABLE)

    def _say_farewell(self, connection: Connection, words: bytes) -> None:
        fd = self._connections.release(connection)
        if fd is not None:
            self._farewell.answer(fd, words)

    @contextlib.contextmanager
    def _room_told(self) -> Iterator[None]:
        """Tell the acceptor, which pauses while the queue is full, when it no longer is."""
        was_full = self.full
        yield
        if was_full and not self.full:
            self.on_room()


def _has_input(fd: int) -> bool:
    """Whether the client has sent something that no worker has consumed."""
    with borrowed(fd) as sock, contextlib.suppress(OSError):
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return False
