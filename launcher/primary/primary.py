"""The primary: compares what is wanted with what is, and closes the gap.

Everything that happens (a message, a death, a signal, a timer) ends in
`Primary.step`, which looks at the whole and starts or ends what it must. It is
level-triggered: losing or doubling one event cannot wedge it.
"""

from __future__ import annotations

import signal
from functools import partial

from launcher.errors import LauncherError
from launcher.ipc.messages import Listen, Pinned, Returned, Unpinned
from launcher.policy.lifecycle import ClusterState, WorkerState
from launcher.policy.restart import RestartPolicy
from launcher.policy.scheduling import POLICIES
from launcher.primary.acceptor import Acceptor
from launcher.primary.connections import Connection, Connections
from launcher.primary.dispatcher import Dispatcher
from launcher.primary.exits import describe_exit
from launcher.primary.farewell import Farewell
from launcher.primary.generation import Generation
from launcher.primary.listeners import Listener, url
from launcher.primary.log import log, write
from launcher.primary.notify import notify
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.rescue import Rescuer
from launcher.primary.roster import Roster
from launcher.primary.worker_handle import WorkerHandle
from launcher.settings import Settings


class Primary:
    """One cluster. All of it happens in the one thread of ``reactor``."""

    def __init__(
        self, settings: Settings, listeners: list[Listener], reactor: Reactor, most_connections: int
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        self.reactor = reactor
        self.started = reactor.clock()
        self.wanted = settings.wanted
        self.restarts = {"crash": 0, "timeout": 0, "memory": 0, "recycle": 0, "reload": 0}
        self.requests_of_the_gone = 0
        self.failure: LauncherError | None = None
        """What the cluster ends with, when it does not end as it was asked to."""
        self.keep_entry = False
        self.current: Generation | None = None
        self.connections = Connections(reactor, most_connections)
        self.roster = Roster(settings, [entry.address for entry in listeners], reactor, self)
        self._next: Generation | None = None
        self._restart = RestartPolicy(settings.max_restarts)
        self._reason = ""
        self._was_ready = False
        self._stopping = False
        self._killed = False
        self._next_step: Timer | None = None
        self._farewell = Farewell(reactor)
        self._dispatcher = Dispatcher(
            reactor,
            self.connections,
            self._farewell,
            POLICIES.get(settings.policy, POLICIES["round-robin"]),
            settings.queue_timeout,
        )
        self._acceptor = Acceptor(reactor, listeners, self.connections, self._dispatcher)
        self._rescuer = Rescuer(
            self.connections, self._farewell, self._dispatcher.admit, rerun=True
        )

    # What there is to tell

    @property
    def state(self) -> ClusterState:
        """What the cluster is doing, in the users' words."""
        if self._stopping:
            return ClusterState.STOPPING
        if self._restart.exhausted:
            return ClusterState.ERRORED
        return ClusterState.ONLINE if self._was_ready else ClusterState.LAUNCHING

    @property
    def error(self) -> str | None:
        """Why not all is well; None when it is."""
        now = self.reactor.clock()
        online = self.current.online() if self.current else []
        if sum(worker.stood_up(now) for worker in online) >= self.wanted:
            return None
        return self._reason or None

    def empty_slots(self) -> list[int]:
        """Slots that have no worker."""
        taken = self.current.by_slot() if self.current else {}
        return [slot for slot in range(self.wanted) if slot not in taken]

    # Beginning and end

    def start(self) -> None:
        """Accept connections and start the first generation."""
        self.reactor.on_signals(
            {
                signal.SIGCHLD: self.roster.reap,
                signal.SIGTERM: self.stop,
                signal.SIGHUP: self.stop,
                signal.SIGINT: self._interrupted,
                signal.SIGQUIT: self.kill,
            }
        )
        if self.settings.policy != "kernel":
            self._acceptor.start()
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
        log(f"stopping; running requests have {self.settings.graceful_timeout:g} s to finish")
        if self.settings.policy != "kernel":
            self._acceptor.drain()
        for listener in self.listeners:
            listener.close()
        self._dispatcher.serve_with([], hopeless=True)
        for worker in self.roster.workers():
            if worker.state is WorkerState.LAUNCHING:
                worker.signal(signal.SIGKILL)
            else:
                worker.retire(final=True)
        self.reactor.call_later(self.settings.graceful_timeout, self._kill_the_late)
        self.step()

    def kill(self) -> None:
        """End at once, whatever runs."""
        self.stop()
        self._killed = True
        for worker in self.roster.workers():
            worker.signal(signal.SIGKILL)
        self.step()

    def close(self) -> None:
        """Release what the cluster held."""
        self._farewell.close()
        for listener in self.listeners:
            listener.close()
        self.roster.close()

    def _interrupted(self) -> None:
        if self._stopping:
            self._cut_short("interrupted again")
        else:
            self.stop()

    def _kill_the_late(self) -> None:
        late = ", ".join(map(str, self.roster.workers()))
        log(f"ending by force, not finished in time: {late or 'the pool'}")
        self.kill()

    def _cut_short(self, why: str) -> None:
        running = sum(worker.row.busy() for worker in self.roster.workers())
        self._fail(LauncherError(f"{why}: stopped at once, {running} running requests were cut"))

    def _fail(self, error: LauncherError) -> None:
        self.failure = self.failure or error
        self.kill()

    # One step towards what is wanted

    def step(self) -> None:
        """Compare what is wanted with what is, and close the gap."""
        if self._stopping:
            self._step_to_the_end()
            return
        self._replace_a_lost_pool()
        for generation in (self.current, self._next):
            if generation:
                self._fill(generation)
        self._promote()
        for generation in self.roster.generations:
            if generation not in (self.current, self._next) and not generation.workers:
                generation.dismiss()
        self._serve()

    def _step_to_the_end(self) -> None:
        for generation in self.roster.generations:
            if not generation.loaded or self._killed:
                generation.kill()
            elif not generation.workers:
                generation.dismiss()
        if self.roster.generations:
            return
        if len(self._farewell) and not self._killed:
            self._step_at(self.reactor.clock() + 0.1)
        else:
            self.reactor.stop()

    def _replace_a_lost_pool(self) -> None:
        lost = self.current is None or not self.current.alive
        if not lost or self._next or not self._may_start():
            return
        self._restart.started(self.reactor.clock())
        try:
            generation = self.roster.launch()
        except OSError as error:
            self._start_failed(f"the pool could not be started: {error.strerror}")
            return
        generation.deadline = self.reactor.call_later(
            self.settings.boot_timeout, partial(self._too_late_to_load, generation)
        )
        self._next = generation

    def _fill(self, generation: Generation) -> None:
        if not generation.can_fork:
            return
        taken = generation.by_slot()
        for slot in range(self.wanted):
            if slot in taken:
                continue
            if not self._may_start():
                return
            self._restart.started(self.reactor.clock())
            worker = self.roster.spawn(generation, slot)
            if worker is None:
                return  # the pool is gone or behind; its end, or the next event, brings us back
            worker.deadline = self.reactor.call_later(
                self.settings.boot_timeout, partial(self._too_late_to_be_ready, worker)
            )

    def _promote(self) -> None:
        """Put the next generation in the current one's place once it is ready, or there is none."""
        old, new = self.current, self._next
        if new is None:
            return
        if old and old.workers and len(new.online()) < self.wanted:
            return
        self.current, self._next = new, None
        if old:
            for worker in list(old.workers.values()):
                self._retire(worker)

    def _serve(self) -> None:
        online = self.current.online() if self.current else []
        hopeless = self._restart.exhausted and not self.roster.workers()
        self._dispatcher.serve_with(online, hopeless)
        if self._was_ready or len(online) < self.wanted:
            return
        self._was_ready = True
        where = ", ".join(url(listener.address) for listener in self.listeners)
        log(f"{self.settings.name!r} is ready at {where}, workers: {self.settings.sizing}")
        log(f"to stop it: Ctrl-C here, or python -m launcher stop {self.settings.name}")
        notify(f"READY=1\nSTATUS={self.wanted} workers ready")

    def _may_start(self) -> bool:
        if self._restart.exhausted:
            return False
        now = self.reactor.clock()
        when = self._restart.next_start(now)
        if when > now:
            self._step_at(when)
        return when <= now

    def _step_at(self, when: float) -> None:
        if self._next_step is None:
            self._next_step = self.reactor.call_at(when, self._timed_step)

    def _timed_step(self) -> None:
        self._next_step = None
        self.step()

    def _retire(self, worker: WorkerHandle) -> None:
        if worker.deadline:
            worker.deadline.cancel()
        worker.retire(final=False)
        worker.deadline = self.reactor.call_later(
            self.settings.graceful_timeout, partial(self._too_late_to_leave, worker)
        )

    def _died(self, stood_up: bool) -> None:
        """Somebody died whom nobody had asked to leave."""
        self.restarts["crash"] += 1
        self._restart.died(self.reactor.clock(), stood_up)
        if self._restart.exhausted:
            log(f"giving up after {self._restart.attempts} failed starts in a row")

    def _start_failed(self, reason: str) -> None:
        self._reason = reason
        log(reason)
        self._died(stood_up=False)
        self.step()

    def _too_late_to_load(self, generation: Generation) -> None:
        generation.error = f"the app was not loaded within {self.settings.boot_timeout:g} s"
        generation.kill()

    def _too_late_to_be_ready(self, worker: WorkerHandle) -> None:
        self._reason = f"{worker} was not ready within {self.settings.boot_timeout:g} s"
        log(self._reason)
        worker.signal(signal.SIGKILL)

    def _too_late_to_leave(self, worker: WorkerHandle) -> None:
        log(f"ending by force, not finished in time: {worker}")
        worker.signal(signal.SIGKILL)

    # What happens to pools and workers (roster.Events)

    def pool_loaded(self, generation: Generation) -> None:
        """The app is loaded: fork."""
        if generation.deadline:
            generation.deadline.cancel()
        self.step()

    def app_failed(self, generation: Generation, reason: str, detail: str) -> None:
        """At first start that is the end; later the running generation never notices."""
        generation.error = reason
        self._reason = reason
        write(detail)
        if not self._was_ready:
            self._fail(LauncherError(reason))

    def pool_exited(self, generation: Generation, status: int) -> None:
        """Its workers live on until those of a new pool have replaced them."""
        if generation in (self.current, self._next) and not self._stopping:
            doing = "" if generation.loaded else " while the app was being loaded"
            self._reason = generation.error or f"the pool {describe_exit(status)}{doing}"
            log(f"generation {generation.number}: {self._reason}")
            self._died(stood_up=generation.loaded)
            if not generation.loaded and not self._was_ready:
                self._fail(LauncherError(self._reason))
        if generation is self._next:
            self._next = None
        self.step()

    def spawn_failed(self, worker: WorkerHandle, reason: str) -> None:
        """No process was to be had; `worker_gone` has dealt with the rest."""
        self._reason = f"{worker} could not be forked: {reason}"
        log(self._reason)

    def worker_ready(self, worker: WorkerHandle) -> None:
        """Deal to it."""
        if self.settings.policy == "kernel":
            worker.tell(Listen(), tuple(entry.sock.fileno() for entry in self.listeners))
        self.step()

    def worker_retires(self, worker: WorkerHandle, reason: str) -> None:
        """It leaves by itself; its slot is free for the next."""
        log(f"{worker} leaves: {reason}")
        self._retire(worker)
        self.step()

    def worker_gone(self, worker: WorkerHandle) -> None:
        """Save its connections and have it replaced."""
        self.requests_of_the_gone += worker.row.requests()
        if not worker.expected and not self._stopping:
            self._died(worker.stood_up(self.reactor.clock()))
        self._rescuer.rescue(worker)
        self.step()

    def worker_exited(self, worker: WorkerHandle, status: int) -> None:
        """Say how, when it was not asked to leave."""
        if not worker.expected and not self._stopping:
            self._reason = f"{worker} {describe_exit(status)}"
            log(self._reason)

    def worker_said(self, worker: WorkerHandle, message: Returned | Pinned | Unpinned) -> None:
        """Note which connections can travel, and take back those it returns."""
        if isinstance(message, Returned):
            self._rescuer.take_back(worker, message.serials)
            return
        connection = worker.connections_by_serial.get(message.serial)
        if connection:
            connection.pinned = isinstance(message, Pinned)
            connection.answered = isinstance(message, Pinned) and message.answered
