"""What becomes known of pools and workers, and what follows from it.

Each fact goes to the parts that it concerns: the record, the staffing, the change under way,
the connections. Then the primary takes a step, which looks at the whole.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from launcher.errors import LauncherError
from launcher.events.cluster import PoolLost
from launcher.events.workers import WorkerLeaves, WorkerNotForked, WorkerOnline, WorkerUnfit
from launcher.ipc.messages import Changed, Configured
from launcher.policy.lifecycle import WorkerState
from launcher.policy.staffing import EXTERNAL
from launcher.primary.cluster.auto_reload import AutoReload
from launcher.primary.cluster.ending import Ending
from launcher.primary.cluster.first_start import FirstStart
from launcher.primary.cluster.record import NO_START, Record, Trouble
from launcher.primary.cluster.recycling import Recycling
from launcher.primary.cluster.rollout import Rollouts
from launcher.primary.cluster.staffing import Staffing
from launcher.primary.cluster.succession import Succession
from launcher.primary.connections.listeners import Listener
from launcher.primary.journal import note
from launcher.primary.log import write
from launcher.primary.processes.exits import describe_exit, exit_of
from launcher.primary.processes.generation import Generation
from launcher.primary.processes.health_check import HealthCheck
from launcher.primary.processes.roster import ConnectionMessage, Roster
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor
from launcher.primary.traffic import Traffic

_RETRY = 0.1
"""Seconds until a health check that had no descriptors is tried again."""


class Parts(NamedTuple):
    """What a cluster consists of; facts go to all of them."""

    listeners: Sequence[Listener]
    reactor: Reactor
    roster: Roster
    traffic: Traffic
    record: Record
    first_start: FirstStart
    auto_reload: AutoReload
    staffing: Staffing
    recycling: Recycling
    succession: Succession
    rollouts: Rollouts
    ending: Ending


class News:
    """Implements `roster.Events`."""

    def __init__(self, parts: Parts, step: Callable[[], None]) -> None:
        self._parts = parts
        self._step = step

    # Pools

    def pool_configured(self, configured: Configured) -> None:
        """gunicorn's configuration is known: at first start, open unix sockets to their users."""
        parts = self._parts
        try:
            for listener in parts.listeners if not parts.first_start.over else ():
                listener.admit(*configured)
        except OSError as error:
            line = f"cannot listen on {listener.address}: {error.strerror}"
            parts.ending.fail(LauncherError(line))

    def pool_loaded(self, generation: Generation) -> None:
        """The app is loaded, so workers can be forked."""
        if generation.deadline:
            generation.deadline.cancel()
        self._step()

    def app_failed(self, generation: Generation, reason: str, detail: str) -> None:
        """An app that does not load ends a first start; a reload is undone."""
        rollouts = self._parts.rollouts
        if self._parts.ending.begun:
            return  # another worker has met the same
        trouble = Trouble(reason, detail, fatal=True)
        if not rollouts.undo(generation, trouble):
            self._parts.record.trouble = trouble
            write(detail)
            rollout = rollouts.under_way
            if self._parts.first_start.over and rollout and rollout.generation is generation:
                rollouts.fail(trouble)
        self._step()

    def pool_exited(self, generation: Generation, status: int) -> None:
        """The workers of a dead pool live on until those of a new pool have replaced them."""
        parts = self._parts
        parts.succession.died(generation.pid)
        in_use = generation in (parts.staffing.current, parts.staffing.next)
        if in_use and not parts.ending.begun:
            doing = "" if generation.loaded else " while the app was being loaded"
            reason = generation.error or f"the pool {describe_exit(status)}{doing}"
            self._pool_lost(generation, Trouble(reason, fatal=True))
        self._step()

    def code_changed(self, generation: Generation, changed: Changed) -> None:
        """Changed files may be a reason to load the app anew (``--watch``)."""
        self._parts.auto_reload.heard(generation, changed, self._parts.staffing.current)

    def died_without_pool(self, pid: int, worker_id: int) -> None:
        """Tell the current pool of the worker's end, since its own pool is dead."""
        self._parts.succession.died(pid, worker_id)
        self._step()

    # Workers that come

    def spawn_failed(self, worker: WorkerHandle, reason: str) -> None:
        """Note why a worker was not forked; `worker_gone` has counted its end."""
        failed = WorkerNotForked(worker.identity, reason)
        note(failed)
        trouble = Trouble(failed.text)
        if not self._parts.rollouts.replacement_failed(worker, trouble):
            self._parts.record.trouble = trouble
        self._step()

    def worker_loaded(self, worker: WorkerHandle) -> None:
        """The worker is ready; with ``health_path`` only after it has answered a request there."""
        if worker.state is not WorkerState.LAUNCHING:
            return
        parts = self._parts
        path = parts.roster.generation_of(worker).terms.settings.health_path
        if not path:
            self._ready(worker)
            return
        try:
            HealthCheck(parts.reactor, worker, path, partial(self._health_known, worker))
        except OSError:  # no descriptors left; the deadline of the worker's start is the end of it
            parts.reactor.call_later(_RETRY, partial(self.worker_loaded, worker))

    def worker_unfit(self, worker: WorkerHandle, what: str) -> None:
        """End the worker; in a reload end the whole new generation."""
        unfit = WorkerUnfit(worker.identity, what)
        trouble = Trouble(unfit.text)
        note(unfit)
        generation = self._parts.roster.generation_of(worker)
        rollouts = self._parts.rollouts
        if not rollouts.undo(generation, trouble):
            if not rollouts.replacement_failed(worker, trouble):
                self._parts.record.trouble = trouble
            if worker.pid is None:  # its pool has not got as far as forking it
                generation.error = generation.error or trouble.reason
                generation.kill()
            worker.signal(signal.SIGKILL)
        self._step()

    # Workers that go

    def worker_spent(self, worker: WorkerHandle) -> None:
        """Have a worker that has served enough replaced; until then it stays."""
        self._parts.recycling.spent(worker)
        if self._parts.ending.begun:
            worker.resume()
        self._step()

    def worker_retires(self, worker: WorkerHandle, reason: str, cause: str) -> None:
        """A worker leaves by itself: its slot is free for the next one at once."""
        note(WorkerLeaves(worker.identity, reason))
        why = cause or EXTERNAL
        worker.leave(why, counted=bool(cause))
        self._parts.staffing.retire(worker, why)
        self._step()

    def worker_gone(self, worker: WorkerHandle) -> None:
        """Save the connections of a dead worker, and have the worker replaced."""
        parts = self._parts
        parts.record.gone(worker)
        if not (worker.leaving or parts.ending.begun or parts.rollouts.is_on_trial(worker)):
            self._died(worker.stood_up(parts.reactor.clock()))
        parts.rollouts.replacement_gone(worker)
        parts.traffic.rescue(worker)
        self._step()

    def worker_exited(self, worker: WorkerHandle, status: int) -> None:
        """Tell how a worker ended, if it was not asked to leave."""
        parts = self._parts
        parts.traffic.exited(worker, status)
        asked = worker.leaving is not None or parts.ending.begun
        exited = exit_of(worker, status, asked)
        parts.record.exited(exited)
        note(exited)
        if asked:
            return
        reason = exited.text
        on_trial = parts.rollouts.on_trial
        if on_trial and worker.generation == on_trial.number:
            parts.rollouts.undo(on_trial, Trouble(on_trial.error or reason))
        elif not parts.rollouts.replacement_failed(worker, Trouble(reason)):
            parts.record.trouble = Trouble(reason)
        self._step()

    def worker_said(self, worker: WorkerHandle, message: ConnectionMessage) -> None:
        """Pass on what a worker says about its connections."""
        self._parts.traffic.heard(worker, message)

    def _health_known(self, worker: WorkerHandle, problem: str | None) -> None:
        if worker.state is not WorkerState.LAUNCHING:
            return
        if problem:
            self.worker_unfit(worker, f"answered its health check with: {problem}")
        else:
            self._ready(worker)

    def _ready(self, worker: WorkerHandle) -> None:
        parts = self._parts
        worker.ready(parts.reactor.clock())
        parts.roster.generation_of(worker).proven = True
        note(WorkerOnline(worker.identity))
        parts.traffic.welcome(worker)
        self._step()
        parts.traffic.spread(parts.staffing.online())

    def _pool_lost(self, generation: Generation, trouble: Trouble) -> None:
        parts = self._parts
        if parts.rollouts.undo(generation, trouble):
            return
        parts.record.trouble = trouble
        note(PoolLost(generation.number, trouble.reason))
        self._died(stood_up=generation.proven)
        rollout = parts.rollouts.under_way
        if not generation.loaded and rollout and rollout.generation is generation:
            parts.rollouts.fail(trouble)
        if generation is parts.staffing.next:
            parts.staffing.next = None

    def _died(self, stood_up: bool) -> None:
        if not self._parts.staffing.died(stood_up):
            self._parts.rollouts.fail(self._parts.record.trouble or NO_START)
