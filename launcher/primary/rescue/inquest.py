"""What becomes of the requests that died with their worker, once its exit status is known.

A worker's channel closes a moment before its exit status arrives, and only the status tells a
crash from a kill. So the requests that may run again wait for the status. Which of them is to
blame, if any, ``policy/blame.py`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.policy.blame import MOST_RERUNS, Blame, Fate, Request, Suspect
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.exits import crashed
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.rescue.trial import Trial, answered

_LATEST = 0.2
"""Seconds after which a worker without an exit status counts as killed from outside: its pool,
which would tell the status, was killed too or is stopped."""


@dataclass(frozen=True, slots=True)
class _Case:
    ages: Sequence[tuple[Connection, float]]
    running: int
    deadline: Timer


class Inquest:
    """The dead workers whose exit status is not known yet.

    ``deal`` has a connection served by any worker; ``condemn`` answers its
    request with an error.
    """

    def __init__(
        self,
        reactor: Reactor,
        connections: Connections,
        deal: Callable[[Connection], None],
        condemn: Callable[[Connection], None],
        trial: Trial,
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._deal = deal
        self._condemn = condemn
        self._trial = trial
        self._blame = Blame()
        self._cases: dict[int, _Case] = {}
        """By the worker's id."""
        self._again: dict[Request, Connection] = {}
        """Requests that were run again and, as far as is known, have not been answered yet."""

    def __len__(self) -> int:
        """Requests of which it is not decided yet whether they run again."""
        return sum(len(case.ages) for case in self._cases.values())

    def open(
        self, worker: WorkerHandle, ages: Sequence[tuple[Connection, float]], running: int
    ) -> None:
        """A worker that was not asked to leave died, while it ran ``running`` requests.

        ``ages``: the connections whose requests can run again, and for how many seconds each
        request had been running.
        """
        self._trial.worker_died(worker)
        deadline = self._reactor.call_later(_LATEST, lambda: self._close(worker, False))
        self._cases[worker.id] = _Case(ages, running, deadline)

    def exited(self, worker: WorkerHandle, status: int) -> None:
        """How it died is known: ``status`` as from wait(2)."""
        self._close(worker, crashed(status))

    def absolve(self, worker: WorkerHandle, connections: Sequence[Connection]) -> None:
        """The worker was ended on purpose, with these requests: none of them was the reason."""
        self._trial.worker_died(worker)
        for connection in connections:
            if connection.reruns < MOST_RERUNS:
                self._run_again(connection)
                self._deal(connection)
            else:
                self._condemn(connection)

    def _close(self, worker: WorkerHandle, within: bool) -> None:
        case = self._cases.pop(worker.id, None)
        if case is None:
            return
        case.deadline.cancel()
        self._acquit()
        ages = [(it, age) for it, age in case.ages if self._connections.get(it.serial) is it]
        suspects = {_request(it): Suspect(age, it.reruns) for it, age in ages}
        fates = self._blame.died(suspects, case.running, within, self._reactor.clock())
        on_trial = []
        for connection, age in ages:
            fate = fates[_request(connection)]
            if fate is Fate.NEVER:
                self._condemn(connection)
                continue
            self._run_again(connection)
            if fate is Fate.APART:
                on_trial.append((connection, age))
            else:
                self._deal(connection)
        suspected = self._blame.suspected()
        self._trial.let_go(lambda connection: _request(connection) not in suspected)
        self._trial.add(on_trial)

    def _run_again(self, connection: Connection) -> None:
        connection.reruns += 1
        self._again[_request(connection)] = connection

    def _acquit(self) -> None:
        """Acquit the requests that have been answered since the last death."""
        suspected = self._blame.suspected()
        self._again = {
            request: connection
            for request, connection in self._again.items()
            if request in suspected
            and request == _request(connection)
            and not answered(self._connections, connection)
        }
        self._blame.acquit(suspected - self._again.keys())


def _request(connection: Connection) -> Request:
    return connection.serial, connection.rerun_at
