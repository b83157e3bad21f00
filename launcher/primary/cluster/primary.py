"""The primary: compares what is wanted with what is, and closes the gap.

Everything that happens (a message, a death, a signal, a timer, a request from
the command line) ends in `Primary.step`, which looks at the whole and starts
or ends what it must. It is level-triggered: losing or doubling one event
cannot wedge it.
"""

from __future__ import annotations

import signal

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.ipc.messages import Reopen
from launcher.logs.folder import POOL
from launcher.policy.lifecycle import ClusterState
from launcher.primary.cluster.auto_reload import AutoReload
from launcher.primary.cluster.ending import Ending
from launcher.primary.cluster.first_start import FirstStart
from launcher.primary.cluster.news import News, Parts
from launcher.primary.cluster.record import NO_START, Record
from launcher.primary.cluster.recycling import Recycling
from launcher.primary.cluster.rollout import Outcome, Rollouts
from launcher.primary.cluster.staffing import Staffing
from launcher.primary.cluster.succession import Succession
from launcher.primary.connections.listeners import Listener
from launcher.primary.log import folder
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.roster import Roster
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Alarm, Reactor
from launcher.primary.traffic import Traffic


class Primary:
    """One cluster. All of it happens in the one thread of ``reactor``."""

    def __init__(
        self,
        terms: Terms,
        listeners: list[Listener],
        reactor: Reactor,
        roster: Roster,
        traffic: Traffic,
        first_start: FirstStart,
    ) -> None:
        self.listeners = listeners
        self.reactor = reactor
        self.roster = roster
        self.traffic = traffic
        self.first_start = first_start
        self.started = reactor.clock()
        self.record = Record()
        next_step = Alarm(reactor, self.step)
        self._auto_reload = AutoReload(reactor, lambda: self.rollouts.reload_soon())
        self.staffing = Staffing(terms, roster, reactor, self.record, self._auto_reload, next_step)
        self._recycling = Recycling(self.staffing, reactor, next_step)
        self._succession = Succession()
        self.rollouts = Rollouts(self.staffing, traffic, reactor, self.record)
        self.ending = Ending(
            self.staffing, self.rollouts, self._recycling, roster, traffic, reactor, next_step
        )
        parts = Parts(
            listeners,
            reactor,
            roster,
            traffic,
            self.record,
            first_start,
            self._auto_reload,
            self.staffing,
            self._recycling,
            self._succession,
            self.rollouts,
            self.ending,
        )
        roster.events = News(parts, self.step)

    # What there is to tell

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.staffing.settings

    @property
    def terms(self) -> Terms:
        """What the app is loaded with, the next time too unless a reload brings others."""
        return self.staffing.terms

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self.staffing.wanted

    @property
    def current(self) -> Generation | None:
        """The generation that serves."""
        return self.staffing.current

    @property
    def requests(self) -> int:
        """Requests answered since the start, or since the counters were set to zero."""
        living = sum(worker.requests for worker in self.roster.workers())
        return self.record.requests_of_the_gone + living

    @property
    def state(self) -> ClusterState:
        """What the cluster is doing, in the users' words."""
        if self.ending.begun:
            return ClusterState.STOPPING
        rollout = self.rollouts.under_way
        if rollout and rollout.kind in ("reload", "restart"):
            return ClusterState.RELOADING
        if self.staffing.exhausted:
            return ClusterState.ERRORED
        if self.staffing.held_back:
            return ClusterState.BACKOFF
        serves = self.first_start.over and self.online()
        return ClusterState.ONLINE if serves else ClusterState.LAUNCHING

    @property
    def error(self) -> str | None:
        """Why not all is well; None when it is."""
        return None if self.staffing.all_stood_up() else self.record.reason or None

    @property
    def calm(self) -> bool:
        """Whether every slot has its worker and no change is under way."""
        return self.staffing.full and not (self.ending.begun or self.rollouts.under_way)

    def online(self) -> list[WorkerHandle]:
        """The workers that are dealt connections, by slot."""
        return self.staffing.online()

    def empty_slots(self) -> list[int]:
        """Slots that have no worker."""
        return self.staffing.empty_slots()

    # What is asked for

    def start(self) -> None:
        """Accept connections and start the first generation."""
        self.traffic.start()
        self.step()

    def reload(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """As `Rollouts.reload`."""
        self.rollouts.reload(outcome, terms)
        self.step()

    def restart(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """As `Rollouts.restart`."""
        self.rollouts.restart(outcome, terms)
        self.step()

    def restart_worker(self, slot: int, outcome: Outcome) -> None:
        """As `Rollouts.restart_worker`."""
        self.rollouts.restart_worker(slot, outcome)
        self.step()

    def scale(self, settings: Settings, outcome: Outcome) -> None:
        """As `Rollouts.scale`."""
        self.rollouts.scale(settings, outcome)
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

    def close(self) -> None:
        """Release what the cluster held."""
        self.traffic.close()
        self.roster.close()

    # One step towards what is wanted

    def step(self) -> None:
        """Compare what is wanted with what is, and close the gap."""
        trouble = self.record.trouble
        if self.ending.begun:
            self.ending.step()
        elif trouble and self.first_start.spoiled_by(trouble):
            self.ending.fail(LauncherError(trouble.reason, trouble.detail))
        else:
            self._close_the_gap()

    def _close_the_gap(self) -> None:
        if self.staffing.settled():
            self.record.trouble = None
        self._recycling.begin_next(self.calm)
        if self.current:
            alone = self.roster.is_alone(self.current)
            self._succession.tell(self.current, alone, self.wanted)
        rollouts = self.rollouts
        on_trial = rollouts.on_trial is not None
        if not self.staffing.act(rollouts.under_way is not None, on_trial):
            rollouts.fail(self.record.trouble or NO_START)
        self._serve()
        rollouts.conclude()
        self._auto_reload.follow(self.current, over=self.calm)

    def _serve(self) -> None:
        online = self.online()
        hopeless = self.staffing.exhausted and not self.roster.workers()
        self.traffic.serve_with(self._recycling.able(online), hopeless)
        if not self.first_start.over and len(online) >= self.wanted:
            self.first_start.end(self.settings, self.listeners)
