"""The generations of a cluster: carries out what ``policy/staffing.py`` plans for them."""

from __future__ import annotations

import dataclasses

from launcher.config.settings import Settings
from launcher.events.cluster import Backoff, CrashLoop, PoolNotStarted
from launcher.policy.restart import RestartPolicy
from launcher.policy.staffing import (
    EXTERNAL,
    Dismiss,
    Fork,
    Launch,
    Promote,
    Retire,
    View,
    Wait,
    by_slot,
    plan,
)
from launcher.primary.cluster.auto_reload import AutoReload
from launcher.primary.cluster.record import Record, Trouble
from launcher.primary.journal import note
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.roster import Roster
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Alarm, Reactor

_RETRY = 0.1
"""Seconds until what could not be started is tried again: no descriptors or processes were to
be had, or the pool is behind with its channel."""


class Staffing:
    """The current generation, the next one, and the terms in force."""

    def __init__(
        self,
        terms: Terms,
        roster: Roster,
        reactor: Reactor,
        record: Record,
        auto_reload: AutoReload,
        next_step: Alarm,
    ) -> None:
        """``next_step`` has the cluster looked at again."""
        self.terms = terms
        """What the app is loaded with, the next time too unless a reload brings others."""
        self.current: Generation | None = None
        self.next: Generation | None = None
        """What is to take the current one's place."""
        self._restart = RestartPolicy(terms.settings.max_restarts)
        self._roster = roster
        self._reactor = reactor
        self._record = record
        self._auto_reload = auto_reload
        self._next_step = next_step

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.terms.settings

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self.settings.wanted

    @property
    def exhausted(self) -> bool:
        """Whether too many starts in a row have failed: nothing is started any more."""
        return self._restart.exhausted

    @property
    def full(self) -> bool:
        """Whether every slot has its worker, and no other generation is on its way."""
        return self.next is None and len(self.online()) == self.wanted

    def online(self) -> list[WorkerHandle]:
        """The workers that are dealt connections, by slot."""
        return self.current.online() if self.current else []

    def empty_slots(self) -> list[int]:
        """Slots that have no worker."""
        taken = by_slot(self.current) if self.current else {}
        return [slot for slot in range(self.wanted) if slot not in taken]

    @property
    def held_back(self) -> bool:
        """Whether no worker serves, and the restart policy has a slot wait for its next one."""
        now = self._reactor.clock()
        waits = not self.online() and bool(self.empty_slots())
        return waits and self._restart.next_start(now) > now

    def all_stood_up(self) -> bool:
        """Whether there are as many workers as wanted that have lived; see `stood_up`."""
        now = self._reactor.clock()
        return sum(worker.stood_up(now) for worker in self.online()) >= self.wanted

    def settled(self) -> bool:
        """Whether nothing is left of an earlier trouble."""
        lives = self.current is not None and self.current.alive
        return lives and not self.exhausted and self.all_stood_up()

    def size(self, settings: Settings) -> None:
        """Have as many workers as these say."""
        self.terms = dataclasses.replace(self.terms, settings=self.settings.sized_as(settings))

    def act(self, change: bool, reload: bool) -> bool:
        """Carry out the plan (``change``, ``reload``: as of `View`); False: it has given up."""
        gave_up = False
        stuck = set()
        for action in plan(self._view(change, reload), self._reactor.clock()):
            match action:
                case Launch():
                    self.next = self.launch(self.terms)
                    gave_up = self.next is None and self.exhausted
                case Fork(number, slot):
                    if number not in stuck and not self._fork(number, slot):
                        stuck.add(number)
                        self._next_step.set_in(_RETRY)
                case Promote(why):
                    self._promote(why)
                case Retire(worker_id, why):
                    self.retire(self._worker(worker_id), why)
                case Dismiss(number):
                    self._roster.dismiss(self._generation(number))
                case Wait(until):
                    self._next_step.set(until)
        return not gave_up

    def launch(self, terms: Terms) -> Generation | None:
        """Start a pool; None when there is no process to be had, which is a trouble then."""
        self._auto_reload.load_begins()
        self._restart.started(self._reactor.clock())
        try:
            return self._roster.launch(terms)
        except OSError as error:
            failed = PoolNotStarted(error.strerror or str(error))
            self._record.trouble = Trouble(failed.text, fatal=True)
            note(failed)
            self.died(stood_up=False)
            self._next_step.set_in(_RETRY)
            return None

    def try_again(self) -> None:
        """A user asks for a new start: earlier failures no longer count."""
        self._restart.reset()

    def replace(self, generation: Generation) -> None:
        """Put a generation that has just been launched in the current one's place at once."""
        old = [*self.current.workers.values()] if self.current else []
        self.next = generation
        self._promote("restart")
        for worker in old:
            self.retire(worker, "restart")

    def retire(self, worker: WorkerHandle, why: str) -> None:
        """Have a worker finish what it runs and leave, as long as requests get for that."""
        self._roster.retire(worker, why, within=self.settings.graceful_timeout)

    def discard_next(self, why: str) -> None:
        """End the next generation now; the current one goes on."""
        if self.next:
            generation, self.next = self.next, None
            self._roster.discard(generation, why)

    def died(self, stood_up: bool) -> bool:
        """A worker or pool died that was not asked to leave; False: nothing is started any more.

        ``stood_up``: whether it had lived before.
        """
        self._record.restarts["crash"] += 1
        now = self._reactor.clock()
        self._restart.died(now, stood_up)
        self._auto_reload.follow(self.current, over=True)
        wait = self._restart.next_start(now) - now
        if self.exhausted:
            note(CrashLoop(self._restart.attempts))
        elif wait > 0:
            note(Backoff(wait, self._restart.attempts))
        return not self.exhausted

    def _view(self, change: bool, reload: bool) -> View:
        known = (self.current, self.next)
        earlier = [each for each in self._roster.generations if each not in known]
        return View(self.wanted, self.current, self.next, earlier, self._restart, change, reload)

    def _fork(self, number: int, slot: int) -> bool:
        self._restart.started(self._reactor.clock())
        return self._roster.spawn(self._generation(number), slot) is not None

    def _promote(self, why: str) -> None:
        if self.next is None:  # it could not be launched
            return
        old, self.current, self.next = self.current, self.next, None
        terms = self.current.terms
        # A generation may have been launched before the number of workers was changed.
        self.terms = dataclasses.replace(terms, settings=terms.settings.sized_as(self.settings))
        if why == EXTERNAL:
            return
        self.try_again()
        if old:
            self._record.restarts["reload"] += 1

    def _generation(self, number: int) -> Generation:
        return next(each for each in self._roster.generations if each.number == number)

    def _worker(self, worker_id: int) -> WorkerHandle:
        return next(each for each in self._roster.workers() if each.id == worker_id)
