"""Ends what is late: a pool that loads or leaves, a worker that starts or leaves."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from launcher.events.cluster import PoolEndedByForce
from launcher.events.workers import WorkerEndedByForce
from launcher.primary.journal import note
from launcher.primary.processes.generation import Generation
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

LAST_MOMENT = 1.0
"""Seconds that a process which is to be gone gets at least."""


class Deadlines:
    """Sets the one deadline that a pool or worker has at a time. The clock is ``reactor``'s."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def to_load(self, generation: Generation) -> None:
        """The pool has ``boot_timeout`` to load the app."""
        seconds = generation.terms.settings.boot_timeout

        def late() -> None:
            generation.error = f"the app was not loaded within {seconds:g} s"
            generation.kill()

        generation.deadline = self._reactor.call_later(seconds, late)

    def to_be_ready(
        self, worker: WorkerHandle, generation: Generation, unfit: Callable[[str], None]
    ) -> None:
        """The worker has ``boot_timeout`` to be ready; else ``unfit`` is called with what it did
        not do."""
        seconds = generation.terms.settings.boot_timeout
        late = partial(unfit, f"was not ready within {seconds:g} s")
        worker.deadline = self._reactor.call_later(seconds, late)

    def to_leave(self, worker: WorkerHandle, generation: Generation, seconds: float) -> None:
        """The worker was asked to leave, and has so many seconds for it."""
        if worker.deadline:
            worker.deadline.cancel()

        def late() -> None:
            note(WorkerEndedByForce(worker.identity))
            if worker.pid is None:  # its pool has not even forked it
                generation.kill()
            worker.signal(signal.SIGKILL)

        worker.deadline = self._reactor.call_later(seconds, late)

    def to_end(self, generation: Generation) -> None:
        """The pool was dismissed; it has ``graceful_timeout`` to collect what it has forked."""

        def late() -> None:
            note(PoolEndedByForce(generation.number))
            generation.kill()

        seconds = max(LAST_MOMENT, generation.terms.settings.graceful_timeout)
        generation.deadline = self._reactor.call_later(seconds, late)
