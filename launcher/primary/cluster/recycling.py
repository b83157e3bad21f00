"""Workers that have begun as many requests as they are to (``--max-requests``).

Such a worker gives back what else comes to it, but stays until its replacement is ready,
and is dealt to again where no other worker could serve for too long. One is replaced at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.events.workers import WorkerGoesOn, WorkerSpent
from launcher.primary.cluster.staffing import Staffing
from launcher.primary.journal import note
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Alarm, Reactor, Timer

_HOLD = 0.5
"""Seconds for which requests wait for a replacement rather than be run by a spent worker:
enough for a fork, not for an app that each worker loads for itself."""


class Recycling:
    """The spent workers of a cluster, and which workers are dealt to meanwhile."""

    def __init__(self, staffing: Staffing, reactor: Reactor, next_step: Alarm) -> None:
        """``next_step`` has the cluster looked at again."""
        self._staffing = staffing
        self._reactor = reactor
        self._next_step = next_step
        self._held: Timer | None = None

    def spent(self, worker: WorkerHandle) -> None:
        """A worker has begun its last request."""
        note(WorkerSpent(worker.identity))
        worker.spent = worker.paused = True

    def begin_next(self, calm: bool) -> None:
        """Have a spent worker replaced, if all is ``calm`` and none is being replaced."""
        online = self._staffing.online()
        if not calm or any(worker.replaced for worker in online):
            return
        for worker in online:
            if worker.spent:
                worker.leave("recycle", counted=True, once_replaced=True)
                return

    def able(self, online: Sequence[WorkerHandle]) -> list[WorkerHandle]:
        """The workers that are dealt to. If all are spent for longer than `_HOLD`, all go on."""
        able = [worker for worker in online if not worker.paused]
        if self._held and (able or not online):
            self._held.cancel()
            self._held = None
        elif online and not (able or self._held):
            self._held = self._reactor.call_later(_HOLD, self._end_hold)
        return able

    def resume(self) -> None:
        """Have every worker serve again."""
        for worker in self._staffing.online():
            worker.resume()

    def _end_hold(self) -> None:
        self._held = None
        online = self._staffing.online()
        if all(worker.paused for worker in online):
            for worker in online:
                note(WorkerGoesOn(worker.identity))
            self.resume()
            self._next_step.set_in(0)
