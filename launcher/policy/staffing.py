"""Which pools and workers are to be started, exchanged and ended now.

`plan` compares what is wanted with what is. It is asked after every event and remembers
nothing, so an event that is lost or comes twice cannot wedge a cluster. What it answers is
carried out by ``primary/cluster/staffing.py``, in this order:

1. A pool, where the current one is lost and no next one is on its way.
2. A worker for every slot that has none, as fast as the restart policy allows. The workers of
   a reload are not slowed down: the first of them that fails ends the reload.
3. The next generation takes the current one's place, when this table says so:

   ======================================  =========================  =======================
   the next generation was loaded because  it takes over              the others leave
   ======================================  =========================  =======================
   a reload was asked for                  when every slot is online  ``reload``
   the current pool is lost, but serves    when every slot is online  ``crash``
   nothing serves                          at once
   ======================================  =========================  =======================

4. Workers without a slot, and those whose replacement is online, leave.
5. The pools of earlier generations go when their last worker is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from launcher.policy.lifecycle import WorkerState
from launcher.policy.restart import RestartPolicy

RELOAD, SCALE, EXTERNAL = "reload", "scale", "crash"
"""Why workers leave, see `Retire`. The last: nothing that was asked for here."""

UNPROVEN = 8
"""Until one worker of a generation is ready, at most so many start at once: on 64 cores an app
that dies at its start costs 8 forks, not 64."""


class Worker(Protocol):
    """A worker as far as the plan looks."""

    @property
    def id(self) -> int:
        """Never used again."""

    @property
    def slot(self) -> int:
        """Its place, from 0; a replacement has the same."""

    @property
    def state(self) -> WorkerState:
        """``LAUNCHING``, ``ONLINE`` or ``RETIRING``; those that are gone are not looked at."""

    @property
    def replaced(self) -> bool:
        """Whether it serves only until its replacement is ready."""


class Generation(Protocol):
    """A pool and its workers, as far as the plan looks."""

    @property
    def number(self) -> int:
        """Rises with each pool."""

    @property
    def alive(self) -> bool:
        """Whether the pool lives."""

    @property
    def can_fork(self) -> bool:
        """Whether the pool lives and has loaded the app."""

    @property
    def workers(self) -> Mapping[int, Worker]:
        """Those that are not dead, by id."""


class Launch(NamedTuple):
    """Start a pool: the next generation."""


class Fork(NamedTuple):
    """Have a generation fork a worker for a slot."""

    generation: int
    slot: int


class Promote(NamedTuple):
    """Put the next generation in the current one's place."""

    why: str


class Retire(NamedTuple):
    """Have a worker finish what it runs and leave."""

    worker: int
    why: str


class Dismiss(NamedTuple):
    """Let the pool of a generation go."""

    generation: int


class Wait(NamedTuple):
    """Plan again at this time (monotonic seconds): then more may be started."""

    until: float


Action = Launch | Fork | Promote | Retire | Dismiss | Wait


@dataclass(frozen=True, slots=True)
class View:
    """A cluster as far as the plan looks."""

    wanted: int
    """How many workers there are to be; their slots are 0 to ``wanted`` - 1."""
    current: Generation | None
    next: Generation | None
    """The one that is to take the current one's place."""
    earlier: Sequence[Generation]
    """All others, whose workers are leaving."""
    restart: RestartPolicy
    change: bool = False
    """Whether a reload, restart or scale is under way."""
    reload: bool = False
    """Whether the next generation is that of a reload."""


def plan(view: View, now: float) -> list[Action]:
    """What to do now (``now``: monotonic seconds), in this order; empty: all is as wanted."""
    starts = _Starts(view.restart, now)
    lost = view.current is None or not view.current.alive
    launches = lost and view.next is None and starts.take()
    actions: list[Action] = [Launch()] if launches else []
    for generation in (view.current, view.next):
        if generation and generation.can_fork:
            trial = view.reload and generation is view.next
            actions += _forks(generation, view.wanted, starts, trial)
    promotes = (launches or view.next is not None) and _takes_over(view)
    if promotes:
        why = RELOAD if view.reload else EXTERNAL
        leaving = [*view.current.workers] if view.current else []
        actions += [Promote(why), *(Retire(worker, why) for worker in leaving)]
    current = view.next if promotes else view.current
    actions += [Retire(worker, SCALE) for worker in _surplus(current, view.wanted)]
    earlier = [*view.earlier, *([view.current] if promotes and view.current else [])]
    actions += [Dismiss(g.number) for g in earlier if g.alive and not g.workers]
    if starts.refused_until is not None:
        actions.append(Wait(starts.refused_until))
    return actions


def by_slot(generation: Generation) -> dict[int, Worker]:
    """The workers that hold a slot: not the retiring ones, nor those being replaced."""
    return {worker.slot: worker for worker in generation.workers.values() if _holds_slot(worker)}


class _Starts:
    """The starts that the restart policy allows now: as many as wanted, one, or none."""

    def __init__(self, policy: RestartPolicy, now: float) -> None:
        self.refused_until: float | None = None
        """When the next start may be, if one was refused for its time."""
        self._exhausted = policy.exhausted
        self._next = policy.next_start(now)
        self._delay = policy.delay(now)
        self._now = now

    def may(self) -> bool:
        """Whether there may be one now; else when is noted."""
        if self._exhausted:
            return False
        if self._next > self._now:
            self.refused_until = self._next
            return False
        return True

    def take(self) -> bool:
        """Make one, if there may be one."""
        return self.may() and self.made()

    def made(self) -> bool:
        """One is made, allowed or not: the next is due its delay later."""
        self._next = self._now + self._delay
        return True


def _forks(generation: Generation, wanted: int, starts: _Starts, trial: bool) -> Iterator[Fork]:
    taken = by_slot(generation)
    there = len(generation.workers)
    proven = any(w.state is not WorkerState.LAUNCHING for w in generation.workers.values())
    for slot in range(wanted):
        if slot in taken:
            continue
        if not (trial or starts.may()) or not (proven or there < UNPROVEN):
            return
        starts.made()
        there += 1
        yield Fork(generation.number, slot)


def _takes_over(view: View) -> bool:
    """Whether the next generation takes the current one's place now: the table above."""
    if not (view.change or (view.current and view.current.workers)):
        return True  # nothing serves
    workers = view.next.workers.values() if view.next else ()
    return sum(worker.state is WorkerState.ONLINE for worker in workers) >= view.wanted


def _surplus(generation: Generation | None, wanted: int) -> list[int]:
    """The workers that have a slot too many, or whose replacement is online; by id."""
    workers = [*generation.workers.values()] if generation else []
    ready = {w.slot for w in workers if w.state is WorkerState.ONLINE and not w.replaced}
    return [
        w.id
        for w in workers
        if w.state is not WorkerState.RETIRING
        and (w.slot >= wanted or (w.replaced and w.slot in ready))
    ]


def _holds_slot(worker: Worker) -> bool:
    return worker.state is not WorkerState.RETIRING and not worker.replaced
