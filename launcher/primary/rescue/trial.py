"""Runs requests again that a worker died with, so that another death shows which of them kills.

If a request kills its worker, the innocent requests that ran beside it are *suspects* too. Run
again all at once, they would meet in the next worker, and its death would prove nothing. But a
request that kills does so at about the same age each time. So suspects may run in one worker
as long as no two of them reach that age at the same time: the *moment* of a suspect is the
time from 0.1 s before that age to 0.1 s after. A suspect that has outlived its moment, or is
answered, no longer holds up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.rescue.accounting import figures

_LOOK = 0.005
"""Seconds between looks whether a suspect has begun, is answered or has outlived its moment."""

_MOMENT = 0.1
"""Seconds before and after the age in question."""

_LONGEST = 0.5
_SHORTEST = 0.03
"""Seconds for which a suspect waits for a worker that has a free thread. Where none had, the
suspect is dealt to a busy one, and holds up the others until a thread begins with it: for 0.5 s
if no other waits, for 0.25 s if one does, down to 0.03 s if many do."""


@dataclass(slots=True, eq=False)
class _Suspect:
    connection: Connection
    age: float
    """Seconds for which it had run when its worker died."""
    since: float
    """When it came here; later, when it was dealt."""
    worker: WorkerHandle | None = None
    began: float | None = None
    """When a thread began to run it again."""

    def moment(self, now: float) -> tuple[float, float]:
        """From when to when it may kill a worker, if it does."""
        when = (now if self.began is None else self.began) + self.age
        return when - _MOMENT, when + _MOMENT


class Trial:
    """The suspects: some are being run again, the others wait for their turn.

    ``deal(connection)`` has a connection served by any worker, as soon as there is one.
    ``deal_apart(connection, taken, begins)`` deals it now to a worker that is not in ``taken``
    and, if ``begins``, has a free thread; it answers whether there was such a worker.
    ``refuse(connection)`` answers a request that has waited for ``patience`` seconds.
    """

    def __init__(
        self,
        reactor: Reactor,
        connections: Connections,
        deal: Callable[[Connection], None],
        deal_apart: Callable[[Connection, Collection[WorkerHandle], bool], bool],
        refuse: Callable[[Connection], None],
        patience: float,
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._deal = deal
        self._deal_apart = deal_apart
        self._refuse = refuse
        self._patience = patience
        self._waiting: list[_Suspect] = []
        """By age: those that kill soonest first."""
        self._running: list[_Suspect] = []
        self._next_look: Timer | None = None

    def __len__(self) -> int:
        """Suspects that wait for their turn."""
        return len(self._waiting)

    def add(self, suspects: Collection[tuple[Connection, float]]) -> None:
        """Have the requests of these connections run again, each with its age at its worker's
        death, in seconds; their ``rerun_at`` is set.
        """
        now = self._reactor.clock()
        self._waiting += [_Suspect(connection, age, now) for connection, age in suspects]
        self._waiting.sort(key=lambda suspect: suspect.age)
        self._go_on()

    def worker_died(self, worker: WorkerHandle) -> None:
        """The suspects that the worker ran hold up no others any more."""
        self._running = [suspect for suspect in self._running if suspect.worker is not worker]

    def let_go(self, innocent: Callable[[Connection], bool]) -> None:
        """Deal the connections at once whose requests are ``innocent``: the death is explained."""
        waiting, self._waiting = self._waiting, []
        for suspect in waiting:
            if not innocent(suspect.connection):
                self._waiting.append(suspect)
            elif self._connections.get(suspect.connection.serial) is suspect.connection:
                self._deal(suspect.connection)

    def _go_on(self) -> None:
        now = self._reactor.clock()
        self._running = [suspect for suspect in self._running if self._holds_up(suspect, now)]
        self._waiting = [suspect for suspect in self._waiting if self._still_waits(suspect, now)]
        while self._waiting and self._begin(self._waiting[0], now):
            del self._waiting[0]
        if (self._waiting or self._running) and self._next_look is None:
            self._next_look = self._reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._next_look = None
        self._go_on()

    def _still_waits(self, suspect: _Suspect, now: float) -> bool:
        if self._connections.get(suspect.connection.serial) is not suspect.connection:
            return False
        if now - suspect.since < self._patience:
            return True
        self._refuse(suspect.connection)
        return False

    def _begin(self, suspect: _Suspect, now: float) -> bool:
        """Run it in a worker in which no other suspect has its moment then; False: it waits."""
        start, end = suspect.moment(now)
        taken = set()
        for other in self._running:
            first, last = other.moment(now)
            if other.worker and first < end and start < last:
                taken.add(other.worker)
        patient = now - suspect.since < _LONGEST
        if not self._deal_apart(suspect.connection, taken, patient):
            if self._running or patient:
                return False
            self._deal(suspect.connection)
        suspect.since = now
        suspect.worker = self._connections.worker_of(suspect.connection)
        self._running.append(suspect)
        return True

    def _holds_up(self, suspect: _Suspect, now: float) -> bool:
        """Whether it may still kill a worker, as far as its age tells."""
        if answered(self._connections, suspect.connection):
            return False
        worker = self._connections.worker_of(suspect.connection)
        if worker is None:
            return suspect.worker is None  # still waits for a worker; else a worker gave it back
        suspect.worker = suspect.worker or worker
        if suspect.worker is not worker:
            return False
        suspect.began = suspect.began or _began(worker, suspect.connection.serial)
        if suspect.began is None:
            longest = max(_SHORTEST, _LONGEST / (1 + len(self._waiting)))
            return now - suspect.since < longest
        return now <= suspect.moment(now)[1]


def _began(worker: WorkerHandle, serial: int) -> float | None:
    started = (note.started for note in worker.row.running() if note.serial == serial)
    return next((nanoseconds * 1e-9 for nanoseconds in started), None)


def answered(connections: Connections, connection: Connection) -> bool:
    """Whether a request that was to run again has its answer, or its client has left."""
    if connections.get(connection.serial) is not connection:
        return True
    known = figures(connection.fd)
    return known is None or known.consumed > connection.rerun_at
