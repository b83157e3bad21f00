"""The end of a cluster, and what it ends with.

Once the end has begun, `Ending.step` takes the place of all other steps. Its phases follow
each other and none comes back:

* ``RUNNING``: not ending.
* ``ARRIVING``: no client can begin to connect; those that have begun are still served.
* ``LEAVING``: the listeners are closed; the workers finish what they run, and leave.
* ``KILLED``: what still runs is ended at once.
"""

from __future__ import annotations

import signal
from enum import IntEnum

from launcher.errors import LauncherError
from launcher.events.cluster import ClusterEndedByForce, ClusterStopping
from launcher.policy.lifecycle import WorkerState
from launcher.primary.cluster.recycling import Recycling
from launcher.primary.cluster.rollout import Rollouts
from launcher.primary.cluster.staffing import Staffing
from launcher.primary.journal import note
from launcher.primary.notify import notify
from launcher.primary.processes.roster import Roster
from launcher.primary.reactor import Alarm, Reactor
from launcher.primary.traffic import Traffic

_ARRIVAL = 0.1
"""A stopping cluster drops new SYNs and accepts for so many seconds what had begun to connect,
then closes the listeners: no client is reset."""

_LOOK = 0.1
"""Seconds between looks whether the last clients have read their last words."""


class Phase(IntEnum):
    """How far the end has come."""

    RUNNING = 0
    ARRIVING = 1
    LEAVING = 2
    KILLED = 3


class Ending:
    """Ends a cluster in order, or at once."""

    def __init__(
        self,
        staffing: Staffing,
        rollouts: Rollouts,
        recycling: Recycling,
        roster: Roster,
        traffic: Traffic,
        reactor: Reactor,
        next_step: Alarm,
    ) -> None:
        """``next_step`` has the cluster looked at again."""
        self.phase = Phase.RUNNING
        self.failure: LauncherError | None = None
        """What the cluster ends with, when it does not end as it was asked to."""
        self.keep_entry = False
        """Whether the cluster is remembered, to be started again by name."""
        self._staffing = staffing
        self._rollouts = rollouts
        self._recycling = recycling
        self._roster = roster
        self._traffic = traffic
        self._reactor = reactor
        self._next_step = next_step

    @property
    def begun(self) -> bool:
        """Whether the cluster is ending."""
        return self.phase > Phase.RUNNING

    def stop(self, keep_entry: bool = False) -> None:
        """Finish what runs, then end. Asking twice is fine."""
        self.keep_entry = self.keep_entry or keep_entry
        if self.begun:
            return
        self.phase = Phase.ARRIVING
        notify("STOPPING=1")
        patience = self._staffing.settings.graceful_timeout
        if not self.failure:
            note(ClusterStopping(patience))
        self._rollouts.stop()
        self._reactor.call_later(patience, self._kill_the_late)
        for worker in self._roster.workers():
            worker.drain()
        self._recycling.resume()
        if self._staffing.online():
            self._admit_no_more()
        else:
            self._leave()

    def interrupt(self) -> None:
        """Stop; asked once more, end at once."""
        if self.begun:
            running = sum(worker.row.busy() for worker in self._roster.workers())
            line = f"interrupted again: stopped at once, {running} running requests were cut"
            self.fail(LauncherError(line))
        else:
            self.stop()

    def fail(self, error: LauncherError) -> None:
        """End at once, with this error unless there is one already."""
        self.failure = self.failure or error
        self.kill()

    def kill(self) -> None:
        """End at once, whatever runs."""
        self.stop()
        self._leave()
        self.phase = Phase.KILLED
        for worker in self._roster.workers():
            worker.signal(signal.SIGKILL)
        self.step()

    def step(self) -> None:
        """Close the gap between what is and the end."""
        if self.phase is Phase.ARRIVING:
            self._traffic.serve_with(self._staffing.online(), hopeless=False)
            return
        killed = self.phase is Phase.KILLED
        for generation in self._roster.generations:
            if killed or not generation.loaded:
                generation.kill()
            elif not generation.workers:
                self._roster.dismiss(generation)
        if self._roster.generations:
            return
        if self._traffic.taking_leave and not killed:
            self._next_step.set_in(_LOOK)
        else:
            self._reactor.stop()

    def _admit_no_more(self) -> None:
        """Let in those that are connecting at this moment, then `_leave`."""
        self._traffic.admit_no_more()
        for worker in self._roster.workers():
            if worker.state is WorkerState.RETIRING:
                # Now, while others can still go on with what it has returned a moment ago.
                worker.retire("stop", final=True)
        self._reactor.call_later(_ARRIVAL, self._leave)

    def _leave(self) -> None:
        if self.phase >= Phase.LEAVING:
            return
        self.phase = Phase.LEAVING
        self._traffic.end()
        for worker in self._roster.workers():
            if worker.state is WorkerState.LAUNCHING:
                worker.signal(signal.SIGKILL)
            # Also to those: one that has not said hello cannot be signalled yet.
            self._roster.retire(worker, "stop")
        self.step()

    def _kill_the_late(self) -> None:
        late = ", ".join(map(str, self._roster.workers()))
        note(ClusterEndedByForce(late or "the pool"))
        self.kill()
