"""The primary: compares what is wanted with what is, and closes the gap.

Everything that happens (a message, a death, a signal, a timer, a request from
the command line) ends in `Primary.step`, which looks at the whole and starts
or ends what it must. It is level-triggered: losing or doubling one event
cannot wedge it.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.ipc.messages import Changed, Configured, Reopen
from launcher.logs.folder import POOL
from launcher.policy.lifecycle import ClusterState, WorkerState
from launcher.policy.restart import RestartPolicy
from launcher.primary.cluster.auto_reload import AutoReload
from launcher.primary.cluster.record import Record, Trouble
from launcher.primary.cluster.recycling import Recycling
from launcher.primary.cluster.rollout import Outcome, Rollout
from launcher.primary.cluster.succession import Succession
from launcher.primary.connections.listeners import Listener, url
from launcher.primary.log import folder, log, write
from launcher.primary.notify import notify
from launcher.primary.processes.exits import EXTERNAL, describe_exit
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.health_check import HealthCheck
from launcher.primary.processes.roster import ConnectionMessage, Roster
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.traffic import Traffic

_SOON = 1.0
"""Seconds until a reload that nobody waits for is tried again."""

_ARRIVAL = 0.1
"""Seconds that a cluster which stops leaves those who are connecting at that moment."""


class _Unasked:
    """The outcome of a reload that no client waits for: the log has told it."""

    def done(self, result: Any) -> None:
        """Nothing is left to do."""

    def refused(self, message: str, detail: str = "") -> None:
        """Nothing is left to do."""


class Primary:
    """One cluster. All of it happens in the one thread of ``reactor``."""

    def __init__(
        self, terms: Terms, listeners: list[Listener], reactor: Reactor, descriptors: int
    ) -> None:
        settings = terms.settings
        self.listeners = listeners
        self.reactor = reactor
        self.started = reactor.clock()
        self.record = Record()
        self.failure: LauncherError | None = None
        """What the cluster ends with, when it does not end as it was asked to."""
        self.on_ready: Callable[[], None] | None = None
        """Somebody waits for the start: called when all is ready. Until then the first
        thing that goes wrong ends the cluster."""
        self.keep_entry = False
        self.findable = True
        """Whether other commands can find the cluster."""
        self.current: Generation | None = None
        self.traffic = Traffic(settings, listeners, reactor, descriptors)
        self.roster = Roster(settings, [entry.address for entry in listeners], reactor, self)
        self.terms = terms
        """What the app is loaded with, the next time too unless a reload brings others."""
        self._next: Generation | None = None
        self._rollout: Rollout | None = None
        self._restart = RestartPolicy(settings.max_restarts)
        self._was_ready = False
        self._stopping = False
        self._leaving = False
        """Whether, of that, the listeners are closed and the workers told."""
        self._killed = False
        self._next_step: Timer | None = None
        self._next_try: Timer | None = None
        """Of a reload that nobody waits for."""
        self._recycling = Recycling(self)
        self._auto_reload = AutoReload(self)
        self._succession = Succession()

    # What there is to tell

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self.settings.wanted

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.terms.settings

    @property
    def requests(self) -> int:
        """Requests answered since the start, or since the counters were set to zero."""
        living = sum(worker.requests for worker in self.roster.workers())
        return self.record.requests_of_the_gone + living

    @property
    def state(self) -> ClusterState:
        """What the cluster is doing, in the users' words."""
        if self._stopping:
            return ClusterState.STOPPING
        if self._rollout and self._rollout.kind != "scale":
            return ClusterState.RELOADING
        if self._restart.exhausted:
            return ClusterState.ERRORED
        serves = self._was_ready and self.online()
        return ClusterState.ONLINE if serves else ClusterState.LAUNCHING

    @property
    def error(self) -> str | None:
        """Why not all is well; None when it is."""
        return None if self._all_stood_up() else self.record.reason or None

    def _all_stood_up(self) -> bool:
        now = self.reactor.clock()
        return sum(worker.stood_up(now) for worker in self.online()) >= self.wanted

    @property
    def calm(self) -> bool:
        """Whether every slot has its worker and no change is under way."""
        quiet = not (self._stopping or self._rollout or self._next)
        return quiet and len(self.online()) == self.wanted

    def online(self) -> list[WorkerHandle]:
        """The workers that are dealt connections, by slot."""
        return self.current.online() if self.current else []

    def empty_slots(self) -> list[int]:
        """Slots that have no worker."""
        taken = self.current.by_slot() if self.current else {}
        return [slot for slot in range(self.wanted) if slot not in taken]

    # Beginning and end

    def start(self) -> None:
        """Accept connections and start the first generation."""
        self.traffic.start()
        self.step()

    def stop(self, keep_entry: bool = False) -> None:
        """Finish what runs, then end. Asking twice is fine.

        ``keep_entry``: remember the cluster, to be started again by name.
        """
        self.keep_entry = self.keep_entry or keep_entry
        if self._stopping:
            return
        self._stopping = True
        notify("STOPPING=1")
        if not self.failure:
            log(f"stopping; running requests have {self.settings.graceful_timeout:g} s to finish")
        self._end_rollout("the cluster was stopped")
        self.reactor.call_later(self.settings.graceful_timeout, self._kill_the_late)
        for worker in self.roster.workers():
            worker.drain()
        self._recycling.resume()
        if self.online():
            self._admit_no_more()
        else:
            self._leave()

    def _admit_no_more(self) -> None:
        """Let in who is connecting at this moment, then `_leave`."""
        self.traffic.admit_no_more()
        for worker in self.roster.workers():
            if worker.state is WorkerState.RETIRING:
                # Now, while others can still go on with what it has returned a moment ago.
                worker.retire("stop", final=True)
        self.reactor.call_later(_ARRIVAL, self._leave)

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self.traffic.end()
        for worker in self.roster.workers():
            if worker.state is WorkerState.LAUNCHING:
                worker.signal(signal.SIGKILL)
            # Also to those: one that has not said hello cannot be signalled yet.
            self.roster.retire(worker, "stop", final=True)
        self.step()

    def kill(self) -> None:
        """End at once, whatever runs."""
        self.stop()
        self._leave()
        self._killed = True
        for worker in self.roster.workers():
            worker.signal(signal.SIGKILL)
        self.step()

    def close(self) -> None:
        """Release what the cluster held."""
        self.traffic.close()
        self.roster.close()

    def interrupt(self) -> None:
        """Stop; asked once more, end at once."""
        if self._stopping:
            running = sum(worker.row.busy() for worker in self.roster.workers())
            line = f"interrupted again: stopped at once, {running} running requests were cut"
            self._fail(LauncherError(line))
        else:
            self.stop()

    def _kill_the_late(self) -> None:
        late = ", ".join(map(str, self.roster.workers()))
        log(f"ending by force, not finished in time: {late or 'the pool'}")
        self.kill()

    def _fail_the_start(self) -> None:
        """Somebody waits for the start, and something has gone wrong: better told than retried."""
        if self.on_ready and not self._stopping and self.record.trouble:
            self._fail(LauncherError(*self.record.trouble))

    def _fail(self, error: LauncherError) -> None:
        self.failure = self.failure or error
        self.kill()

    # Changes that somebody asks for

    def reload(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """Replace the generation by a new one once that is ready; else keep it.

        ``terms``: other ones than before, from then on. Raises LauncherError
        when it cannot be begun.
        """
        self._refuse_if_busy()
        generation = self._launch(terms or self.terms)
        if generation is None:
            raise LauncherError(self.record.reason)
        log(f"reloading: generation {generation.number} is being loaded")
        self._next = generation
        self._rollout = Rollout("reload", generation, outcome)

    def restart(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """End the generation and start another, whatever comes of it. Connections wait.

        ``terms`` as of `reload`. Raises LauncherError when it cannot be begun.
        """
        self._refuse_if_busy()
        self._restart.reset()
        generation = self._launch(terms or self.terms)
        if generation is None:
            raise LauncherError(self.record.reason)
        log(f"restarting: generation {generation.number} is being loaded")
        self._next = generation
        self._replace_current("restart")
        self._rollout = Rollout("restart", generation, outcome)
        self.step()

    def scale(self, settings: Settings, outcome: Outcome) -> None:
        """Have as many workers as these say. Raises LauncherError when that is nothing new."""
        workers = settings.wanted
        self._refuse_if_busy()
        if self._restart.exhausted:
            raise LauncherError(f"{self.record.reason}: reload or restart it first")
        if workers == self.wanted:
            name = self.settings.name
            raise LauncherError(f"nothing to do: {name!r} has {workers} workers already")
        assert self.current
        self.traffic.size_for(workers)
        log(f"scaling from {self.wanted} to {workers} workers")
        self.terms = dataclasses.replace(self.terms, settings=self.settings.sized_as(settings))
        self._rollout = Rollout("scale", self.current, outcome)
        self.step()

    def reopen_logs(self) -> list[tuple[int, str]]:
        """Have every process leave log files that were renamed: their pids and files' sources."""
        logs = folder()
        place = () if logs is None else (logs,)
        asked = [(worker.pid, str(worker.slot)) for worker in self.roster.workers() if worker.pid]
        for worker in self.roster.workers():
            worker.tell(Reopen(), place)
        for generation in self.roster.generations:
            if generation.tell(Reopen(), place):
                asked.append((generation.pid, POOL))
        return asked

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to every worker, once; to how many."""
        there = [worker for worker in self.roster.workers() if worker.pid is not None]
        for worker in there:
            worker.signal(number)
        return len(there)

    def reset(self) -> None:
        """Count restarts and requests from zero again."""
        self.record.reset()
        for worker in self.roster.workers():
            worker.forget_requests()

    def _refuse_if_busy(self) -> None:
        if self._stopping:
            raise LauncherError("the cluster is being stopped")
        if self._rollout:
            raise LauncherError(f"a {self._rollout.kind} is under way: try again when it is done")
        if self._next or not self.current:
            raise LauncherError("the cluster is starting: try again when it is online")

    def _end_rollout(self, failure: str = "", detail: str = "") -> None:
        rollout, self._rollout = self._rollout, None
        if rollout is None:
            return
        if failure:
            log(f"{rollout.kind} failed: {failure}")
            write(detail)
            rollout.failed(failure, detail)
        else:
            log(
                f"{rollout.kind} done: {self.wanted} workers of generation "
                f"{rollout.generation.number} are online"
            )
            self.record.trouble = None
            rollout.done(self.wanted)

    def _undo(self, generation: Generation, reason: str, detail: str = "") -> bool:
        """Discard the new generation of a reload that failed; whether it was one."""
        if generation is not self._on_trial:
            return False
        self._next = None
        self.roster.discard(generation, "reload failed")
        self._end_rollout(reason, detail)
        return True

    @property
    def _on_trial(self) -> Generation | None:
        """The new generation of a reload, which the first thing that goes wrong undoes."""
        rollout = self._rollout
        reloads = rollout and rollout.transaction and rollout.generation is self._next
        return self._next if reloads else None

    # One step towards what is wanted

    def step(self) -> None:
        """Compare what is wanted with what is, and close the gap."""
        if self._stopping:
            self._step_to_the_end()
            return
        if self._all_stood_up():
            self.record.trouble = None
        self._replace_a_lost_pool()
        self._recycling.begin_next()
        if self.current:
            alone = self.roster.is_alone(self.current)
            self._succession.tell(self.current, alone, self.wanted)
        for generation in (self.current, self._next):
            if generation:
                self._fill(generation)
        self._promote()
        self._retire_the_surplus()
        for generation in self.roster.generations:
            if generation not in (self.current, self._next) and not generation.workers:
                self.roster.dismiss(generation)
        self._serve()
        self._conclude()
        self._auto_reload.follow()

    def _step_to_the_end(self) -> None:
        if not self._leaving:
            self.traffic.serve_with(self.online(), hopeless=False)
            return
        for generation in self.roster.generations:
            if not generation.loaded or self._killed:
                generation.kill()
            elif not generation.workers:
                self.roster.dismiss(generation)
        if self.roster.generations:
            return
        if self.traffic.taking_leave and not self._killed:
            self._step_at(self.reactor.clock() + 0.1)
        else:
            self.reactor.stop()

    def _replace_a_lost_pool(self) -> None:
        lost = self.current is None or not self.current.alive
        if lost and not self._next and self._may_start():
            self._next = self._launch(self.terms)

    def _launch(self, terms: Terms) -> Generation | None:
        self._auto_reload.load_begins()
        self._restart.started(self.reactor.clock())
        try:
            generation = self.roster.launch(terms)
        except OSError as error:
            reason = f"the pool could not be started: {error.strerror}"
            self.record.trouble = Trouble(reason)
            log(reason)
            self._died(stood_up=False)
            if not self._was_ready:
                self._fail(LauncherError(reason))
            self._step_at(self.reactor.clock() + 0.1)
            return None
        generation.deadline = self.reactor.call_later(
            terms.settings.boot_timeout, partial(self._too_late_to_load, generation)
        )
        return generation

    def _fill(self, generation: Generation) -> None:
        if not generation.can_fork:
            return
        taken = generation.by_slot()
        for slot in range(self.wanted):
            if slot in taken:
                continue
            # What the first failure undoes need not be slowed down.
            may_start = generation is self._on_trial or self._may_start()
            if not (may_start and generation.may_launch()):
                return
            self._restart.started(self.reactor.clock())
            worker = self.roster.spawn(generation, slot)
            if worker is None:  # no descriptors left, or the pool is gone or behind
                self._step_at(self.reactor.clock() + 0.1)
                return
            worker.deadline = self.reactor.call_later(
                generation.terms.settings.boot_timeout, partial(self._too_late_to_be_ready, worker)
            )

    def _promote(self) -> None:
        """Put the next generation in the current one's place, once it is ready."""
        if self._next is None:
            return
        needed = bool(self.current and self.current.workers) or self._rollout is not None
        if not needed or len(self._next.online()) >= self.wanted:
            asked = self._rollout and self._rollout.generation is self._next
            self._replace_current("reload" if asked else EXTERNAL)

    def _replace_current(self, why: str) -> None:
        old, self.current, self._next = self.current, self._next, None
        if self.current:
            self._adopt(self.current.terms)
            if self._rollout and self._rollout.generation is old:
                self._rollout.generation = self.current  # its pool was lost: this one goes on
        if why != EXTERNAL:
            self._restart.reset()
        if old:
            self.record.restarts["reload"] += why != EXTERNAL
            for worker in list(old.workers.values()):
                self._retire(worker, why)

    def _adopt(self, terms: Terms) -> None:
        """These hold from now on, but the number of workers is the one there is."""
        self.terms = dataclasses.replace(terms, settings=terms.settings.sized_as(self.settings))

    def _retire_the_surplus(self) -> None:
        """End what has a slot too many, or has been replaced."""
        if not self.current:
            return
        ready = {worker.slot for worker in self.current.online() if not worker.replaced}
        for worker in list(self.current.workers.values()):
            surplus_slot = worker.slot >= self.wanted
            replaced = worker.replaced and worker.slot in ready
            if worker.state is not WorkerState.RETIRING and (surplus_slot or replaced):
                self._retire(worker, "scale")

    def _serve(self) -> None:
        online = self.online()
        hopeless = self._restart.exhausted and not self.roster.workers()
        self.traffic.serve_with(self._recycling.able(online), hopeless)
        if self._was_ready or len(online) < self.wanted:
            return
        self._was_ready = True
        where = ", ".join(url(listener.address) for listener in self.listeners)
        log(f"{self.settings.name!r} is ready at {where}, workers: {self.settings.sizing}")
        ways = [] if self.settings.log_to_files else ["Ctrl-C here"]
        ways += [f"python -m launcher stop {self.settings.name}"] if self.findable else []
        log(f"to stop it: {', or '.join(ways)}")
        notify(f"READY=1\nSTATUS={self.wanted} workers ready")
        on_ready, self.on_ready = self.on_ready, None
        if on_ready:
            on_ready()

    def _conclude(self) -> None:
        """Tell whoever waits for a change that it is carried out."""
        rollout = self._rollout
        if rollout and rollout.generation is self.current and len(self.online()) == self.wanted:
            self._end_rollout()

    def _may_start(self) -> bool:
        if self._restart.exhausted:
            return False
        now = self.reactor.clock()
        when = self._restart.next_start(now)
        if when > now:
            self._step_at(when)
        return when <= now

    def _step_at(self, when: float) -> None:
        if self._next_step and self._next_step.when <= when:
            return
        if self._next_step:
            self._next_step.cancel()
        self._next_step = self.reactor.call_at(when, self._timed_step)

    def _timed_step(self) -> None:
        self._next_step = None
        self.step()

    def _retire(self, worker: WorkerHandle, why: str) -> None:
        if worker.deadline:
            worker.deadline.cancel()
        self.roster.retire(worker, why, final=False)
        worker.deadline = self.reactor.call_later(
            self.settings.graceful_timeout, partial(self._too_late_to_leave, worker)
        )

    def _died(self, stood_up: bool) -> None:
        """Somebody died whom nobody had asked to leave."""
        self.record.restarts["crash"] += 1
        self._restart.died(self.reactor.clock(), stood_up)
        self._auto_reload.follow(failed=True)
        if self._restart.exhausted:
            log(f"giving up after {self._restart.attempts} failed starts in a row")
            self._end_rollout(*(self.record.trouble or Trouble("workers do not live")))
            self._fail_the_start()

    def _too_late_to_load(self, generation: Generation) -> None:
        seconds = generation.terms.settings.boot_timeout
        generation.error = f"the app was not loaded within {seconds:g} s"
        generation.kill()

    def _too_late_to_be_ready(self, worker: WorkerHandle) -> None:
        seconds = self.roster.generation_of(worker).terms.settings.boot_timeout
        self._unfit(worker, f"was not ready within {seconds:g} s")

    def _too_late_to_leave(self, worker: WorkerHandle) -> None:
        log(f"ending by force, not finished in time: {worker}")
        if worker.pid is None:  # its pool has not even forked it
            self.roster.generation_of(worker).kill()
        worker.signal(signal.SIGKILL)

    def _unfit(self, worker: WorkerHandle, what: str) -> None:
        """A worker that was started will not do."""
        reason = f"{worker} {what}"
        log(reason)
        generation = self.roster.generation_of(worker)
        if self._undo(generation, reason):
            return
        self.record.trouble = Trouble(reason)
        if worker.pid is None:  # its pool has not got as far as forking it
            generation.error = generation.error or reason
            generation.kill()
        worker.signal(signal.SIGKILL)
        self._fail_the_start()

    # What happens to pools and workers (roster.Events)

    def pool_configured(self, configured: Configured) -> None:
        """At first start, who may connect to unix sockets is known now."""
        try:
            for listener in self.listeners if not self._was_ready else ():
                listener.admit(*configured)
        except OSError as error:
            self._fail(LauncherError(f"cannot listen on {listener.address}: {error.strerror}"))

    def pool_loaded(self, generation: Generation) -> None:
        """The app is loaded: fork."""
        if generation.deadline:
            generation.deadline.cancel()
        self.step()

    def app_failed(self, generation: Generation, reason: str, detail: str) -> None:
        """At first start that is the end; in a reload the running generation never notices."""
        if self._stopping:
            return  # another worker has met the same
        if self._undo(generation, reason, detail):
            return
        self.record.trouble = Trouble(reason, detail)
        write(detail)
        if not self._was_ready:
            self._fail(LauncherError(reason, detail))
        elif self._rollout and self._rollout.generation is generation:
            self._end_rollout(reason, detail)

    def pool_exited(self, generation: Generation, status: int) -> None:
        """Its workers live on until those of a new pool have replaced them."""
        self._succession.died(generation.pid)
        if generation in (self.current, self._next) and not self._stopping:
            doing = "" if generation.loaded else " while the app was being loaded"
            self._pool_lost(
                generation, generation.error or f"the pool {describe_exit(status)}{doing}"
            )
        self.step()

    def _pool_lost(self, generation: Generation, reason: str) -> None:
        if self._undo(generation, reason):
            return
        self.record.trouble = Trouble(reason)
        log(f"generation {generation.number}: {reason}")
        self._died(stood_up=generation.proven)
        if not self._was_ready:
            self._fail(LauncherError(reason))
        elif not generation.loaded and self._rollout and self._rollout.generation is generation:
            self._end_rollout(reason)
        if generation is self._next:
            self._next = None

    def code_changed(self, generation: Generation, changed: Changed) -> None:
        """There may be a reason to load the app anew (``--watch``)."""
        self._auto_reload.heard(generation, changed)

    def reload_soon(self) -> None:
        """Reload, with nobody who waits for it; once, however often it is asked for meanwhile."""
        if self._next_try is None and not self._stopping:
            self._reload_when_possible()

    def _reload_when_possible(self) -> None:
        self._next_try = None
        try:
            self.reload(_Unasked())
        except LauncherError:
            self._next_try = self.reactor.call_later(_SOON, self._reload_when_possible)

    def spawn_failed(self, worker: WorkerHandle, reason: str) -> None:
        """No process was to be had; `worker_gone` has dealt with the rest."""
        reason = f"{worker} could not be forked: {reason}"
        self.record.trouble = Trouble(reason)
        log(reason)
        self._fail_the_start()

    def worker_loaded(self, worker: WorkerHandle) -> None:
        """Ready, or to be asked first whether it is well."""
        if worker.state is not WorkerState.LAUNCHING:
            return
        path = self.roster.generation_of(worker).terms.settings.health_path
        if not path:
            self._worker_ready(worker)
            return
        try:
            HealthCheck(self.reactor, worker, path, partial(self._health_known, worker))
        except OSError:  # no descriptors left; `_too_late_to_be_ready` is the end of it
            self.reactor.call_later(0.1, partial(self.worker_loaded, worker))

    def _health_known(self, worker: WorkerHandle, problem: str | None) -> None:
        if worker.state is not WorkerState.LAUNCHING:
            return
        if problem:
            self._unfit(worker, f"answered its health check with: {problem}")
        else:
            self._worker_ready(worker)

    def _worker_ready(self, worker: WorkerHandle) -> None:
        if worker.state is not WorkerState.LAUNCHING:
            return
        worker.ready(self.reactor.clock())
        self.roster.generation_of(worker).proven = True
        log(f"{worker} is online")
        self.traffic.welcome(worker)
        self.step()
        self.traffic.spread(self.online())

    def worker_spent(self, worker: WorkerHandle) -> None:
        """Its replacement is to be ready before it leaves."""
        self._recycling.spent(worker)
        if self._stopping:
            worker.resume()
        self.step()

    def worker_retires(self, worker: WorkerHandle, reason: str, cause: str) -> None:
        """It leaves by itself; its slot is free for the next."""
        log(f"{worker} leaves: {reason}")
        why = cause or EXTERNAL
        worker.leave(why, counted=bool(cause))
        self._retire(worker, why)
        self.step()

    def worker_gone(self, worker: WorkerHandle) -> None:
        """Save its connections and have it replaced."""
        self.record.gone(worker)
        if not (worker.leaving or self._stopping or self._of_a_transaction(worker)):
            self._died(worker.stood_up(self.reactor.clock()))
        self.traffic.rescue(worker)
        self.step()

    def worker_exited(self, worker: WorkerHandle, status: int) -> None:
        """Say how, when it was not asked to leave."""
        self.traffic.exited(worker, status)
        self.record.exited(worker, status)
        if worker.leaving or self._stopping:
            return
        reason = f"{worker} {describe_exit(status)}"
        reason = f"{reason}: {worker.error}" if worker.error else reason
        log(reason)
        if self._of_a_transaction(worker) and self._next:
            self._undo(self._next, self._next.error or reason)
            self.step()
        else:
            self.record.trouble = Trouble(reason)
        self._fail_the_start()

    def died_without_pool(self, pid: int, worker_id: int) -> None:
        """The pool in charge is told in the place of its own."""
        self._succession.died(pid, worker_id)
        self.step()

    def _of_a_transaction(self, worker: WorkerHandle) -> bool:
        on_trial = self._on_trial
        return on_trial is not None and worker.generation == on_trial.number

    def worker_said(self, worker: WorkerHandle, message: ConnectionMessage) -> None:
        """Something about connections it has."""
        self.traffic.heard(worker, message)
