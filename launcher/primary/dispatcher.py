"""Deals connections to workers, and holds those that nobody can take yet."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence

from launcher import refusals
from launcher.policy.scheduling import Policy
from launcher.primary.connections import Connection, Connections
from launcher.primary.farewell import Farewell
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.worker_handle import WorkerHandle

MOST_WAITING = 1024
"""Connections that wait in the primary; the ones after them wait in the listen backlog."""

# Workers whose channels are full do not say when they have caught up.
_RETRY = 0.1


class Dispatcher:
    """Chooses a worker for each connection and hands it over."""

    def __init__(
        self,
        reactor: Reactor,
        connections: Connections,
        farewell: Farewell,
        policy: Policy,
        queue_timeout: float,
    ) -> None:
        self.on_room: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._connections = connections
        self._farewell = farewell
        self._policy = policy
        self._queue_timeout = queue_timeout
        self._ring: list[WorkerHandle] = []
        self._hopeless = False
        self._last_slot = -1
        self._waiting: OrderedDict[int, Connection] = OrderedDict()
        self._next_look: Timer | None = None

    @property
    def full(self) -> bool:
        """Whether no more should be accepted for now."""
        return len(self._waiting) >= MOST_WAITING

    def serve_with(self, ring: list[WorkerHandle], hopeless: bool) -> None:
        """Deal to these workers from now on, in this order; first what has waited.

        ``hopeless``: nobody will come to serve, so nobody needs to wait.
        """
        self._ring = ring
        self._hopeless = hopeless
        if ring and self._waiting:
            self._deal_waiting()
        if hopeless:
            self._refuse_waiting()

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
            if not worker.deal(theirs):
                for connection in theirs:
                    self.admit(connection)

    def admit(self, connection: Connection, returned_by: WorkerHandle | None = None) -> None:
        """Deal a connection, or let it wait its turn.

        ``returned_by``: who had it last has too many, or no room. It goes to another,
        who has fewest, whatever the policy.
        """
        if returned_by and self._deal_to_another(connection, returned_by):
            return
        if returned_by or self._waiting or not self._deal(connection):
            connection.since = self._reactor.clock()
            self._waiting[connection.serial] = connection
            if self._hopeless:
                self._refuse_waiting()
            else:
                self._look_later()

    def deal_apart(
        self, connection: Connection, taken: Collection[WorkerHandle], begins: bool
    ) -> bool:
        """Deal a connection, past those that wait, to the worker with least to do that is not
        ``taken``; False when there is none.

        ``begins``: only to one that has a thread for it now.
        """
        others = [worker for worker in self._ring if worker not in taken]
        for worker in sorted(others, key=WorkerHandle.load):
            if begins and worker.load() >= worker.threads:
                return False
            worker.promise()
            if worker.deal((connection,)):
                return True
        return False

    def _deal(self, connection: Connection) -> bool:
        ring = self._ring
        while ring:
            worker = self._choose(ring, connection)
            if worker.deal((connection,)):
                return True
            ring = [other for other in ring if other is not worker]
        return False

    def _choose(self, ring: list[WorkerHandle], connection: Connection) -> WorkerHandle:
        worker = ring[self._policy(ring, self._last_slot, connection.host)]
        self._last_slot = worker.slot
        worker.promise()
        return worker

    def _deal_to_another(self, connection: Connection, worker: WorkerHandle) -> bool:
        now, last = self._reactor.clock(), connection.since
        connection.since = now
        if now - last < _RETRY:
            return False  # the one before had no room either: do not send it in circles
        for other in sorted(self._ring, key=lambda worker: worker.connections):
            if other is not worker:
                other.promise()
                if other.deal((connection,)):
                    return True
        return False

    def _deal_waiting(self) -> None:
        with self._room_told():
            for serial, connection in list(self._waiting.items()):
                hung_up = self._connections.get(serial) is None
                if not hung_up and not self._deal(connection):
                    break
                del self._waiting[serial]

    def _look_later(self) -> None:
        if self._next_look is None:
            self._next_look = self._reactor.call_later(_RETRY, self._look)

    def _look(self) -> None:
        self._next_look = None
        self._deal_waiting()
        self._refuse_waiting(since=self._reactor.clock() - self._queue_timeout)
        if self._waiting:
            self._look_later()

    def _refuse_waiting(self, since: float = float("inf")) -> None:
        """Answer 503 to those that have waited since before ``since``."""
        with self._room_told():
            while self._waiting:
                serial, connection = next(iter(self._waiting.items()))
                if connection.since > since:
                    break
                del self._waiting[serial]
                fd = self._connections.release(connection)
                if fd is not None:
                    self._farewell.answer(fd, refusals.UNAVAILABLE)

    @contextlib.contextmanager
    def _room_told(self) -> Iterator[None]:
        """Whoever has stopped accepting because of us hears when there is room again."""
        was_full = self.full
        yield
        if was_full and not self.full:
            self.on_room()
