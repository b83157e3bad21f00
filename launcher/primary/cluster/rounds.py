"""Looks at the workers that are up once a second: some are frozen, some have served enough."""

from __future__ import annotations

import signal
from functools import partial

from launcher.events.workers import WorkerAged, WorkerFrozen, WorkerOverweight
from launcher.ipc.notes import Note
from launcher.policy.fitness import culprits, staggered
from launcher.policy.lifecycle import WorkerState
from launcher.primary.cluster.primary import Primary
from launcher.primary.journal import note
from launcher.primary.notify import show_life
from launcher.primary.processes.loading import Loading
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.proc import is_stopped, proportional_memory, thread_cpu, usage

_INTERVAL = 1.0

_MARGIN = 2.0
"""Seconds over the request timeout that a worker gets to end the request by itself."""

_OBSERVED = 0.5
"""Seconds for which the threads of a frozen worker are observed: which of them computes?"""

_DUMP_TIME = 0.5
"""Seconds for a frozen worker to write down where its threads are."""


class Rounds:
    """The rounds. Ends workers that are frozen, has those replaced that have served enough."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._loading = Loading(primary.roster)
        self._last = primary.reactor.clock()

    def start(self) -> None:
        """Look for the first time in a second, and once a second from then on."""
        self._primary.reactor.call_later(_INTERVAL, self._round)

    def _round(self) -> None:
        self._primary.reactor.call_later(_INTERVAL, self._round)
        show_life()
        now = self._primary.reactor.clock()
        elapsed, self._last = now - self._last, now
        for worker in self._primary.roster.workers():
            worker.repeat()
            if worker.state is not WorkerState.LAUNCHING:
                self._look_for_life(worker, elapsed)
        self._loading.look(now)
        if self._primary.calm:
            self._recycle_one(now)
        self._primary.step()  # should anything have been missed; and trouble may be over

    def _look_for_life(self, worker: WorkerHandle, elapsed: float) -> None:
        timeout = self._primary.settings.timeout
        still_for = worker.pulse.look(worker.row.heartbeat, elapsed)
        ends_already = worker.leaving is not None and worker.leaving.counted
        if timeout and still_for > timeout + _MARGIN and not ends_already:
            self._end_frozen(worker, timeout)

    def _end_frozen(self, worker: WorkerHandle, timeout: float) -> None:
        note(WorkerFrozen(worker.identity, timeout + _MARGIN))
        worker.leave("timeout", counted=True)
        latest = int((self._primary.reactor.clock() - timeout) * 1e9)
        late = [note for note in worker.row.running() if note.started < latest]
        before = _cpu_by_request(worker, late)
        self._primary.reactor.call_later(
            _OBSERVED, partial(self._blame_and_kill, worker, late, before)
        )

    def _blame_and_kill(
        self, worker: WorkerHandle, late: list[Note], before: dict[int, float]
    ) -> None:
        """Kill a frozen worker; the requests that froze it are overdue, the others run again.

        ``late``: its overdue requests; ``before``: CPU seconds that each had used by `_OBSERVED`
        seconds ago.
        """
        still = {(note.serial, note.started) for note in worker.row.running()}
        late = [note for note in late if (note.serial, note.started) in still]
        now = _cpu_by_request(worker, late)
        if worker.pid and not is_stopped(worker.pid):
            used = {serial: cpu - before[serial] for serial, cpu in now.items()}
            worker.overdue = culprits(used, _OBSERVED)
        worker.signal(signal.SIGABRT)
        self._primary.reactor.call_later(_DUMP_TIME, partial(worker.signal, signal.SIGKILL))

    def _recycle_one(self, now: float) -> None:
        online = self._primary.online()
        if any(worker.replaced for worker in online):
            return
        for worker in online:
            why = self._due(worker, now)
            if why:
                worker.leave(why, counted=True, once_replaced=True)
                return

    def _due(self, worker: WorkerHandle, now: float) -> str:
        settings = self._primary.settings
        over = worker.overweight.sample(_memory(worker, settings.max_memory), settings.max_memory)
        if settings.max_memory and over:
            note(WorkerOverweight(worker.identity, settings.max_memory >> 20))
            return "memory"
        lifetime = staggered(settings.max_lifetime, worker.slot, settings.wanted)
        if settings.max_lifetime and now - worker.since >= lifetime:
            note(WorkerAged(worker.identity, now - worker.since))
            return "recycle"
        return ""


def _cpu_by_request(worker: WorkerHandle, running: list[Note]) -> dict[int, float]:
    """Seconds of CPU time of the threads that run these requests, by serial."""
    return {note.serial: thread_cpu(worker.pid or 0, note.thread) for note in running}


def _memory(worker: WorkerHandle, limit: int) -> int:
    """The worker's memory in bytes, 0 without a ``limit``.

    Above the limit it is the proportional set size: pages that workers share count in parts.
    To find that out the kernel walks all pages, so below the limit the resident set will do.
    """
    if not limit or worker.pid is None:
        return 0
    rss = usage(worker.pid).rss
    return proportional_memory(worker.pid) or rss if rss > limit else rss
