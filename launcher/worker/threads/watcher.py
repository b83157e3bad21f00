"""Sees to it that one thread leads and another is ready to.

The watcher looks at the leader now and then. A leader that waits (its CPU clock stands still,
and the process's too) loses the lead after 0.5 ms, and the forecast hears of it. A leader that
computes, or may be waiting for the interpreter, loses it after 2 ms, and only if there is
something to do, because the two will then take turns at the interpreter.

When the last resting thread was called, the watcher starts another, off the way of
requests, if that helps (`launcher.policy.serving.growth`). When no thread leads, rests or gets
free for a while, it has the desk opened (`launcher.worker.threads.desk`).

Each look costs two switches of the interpreter, so after each look that finds the
leader making progress the next one is put off by 0.5 ms more, up to 10 ms. After 50 looks
with nothing to serve the watcher sleeps until the leader rings.

Go's sysmon (runtime/proc.go) has the same shape: it sleeps for longer the longer it
finds nothing, and takes the processor from a goroutine that is in a system call.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from launcher.policy.serving.growth import ENDLESS, Growth, Sample
from launcher.worker.connection.parking import Parking
from launcher.worker.serving.seat import Seat, Term
from launcher.worker.threads.leadership import Leadership

WAITS_FOR = 0.0005
"""Seconds with one event after which a leader that waits is held up."""

COMPUTES_FOR = 0.002
"""Seconds with one event after which a leader that computes is held up."""

_COMPUTING = 0.1
"""Part of the time: a thread that has run for less of it waits."""

_OTHERS = 0.5
"""Part of the time: where all threads together have run for more, the leader may wait for them."""

_CALM = 0.0005
"""Seconds by which the pause grows after a look that finds the leader making progress."""

_CALMEST = 0.010
"""Seconds of the longest such pause."""

_ALERT = 50
"""Looks in a row at a leader with nothing to serve before the watcher sleeps."""

_SURE = 10
"""Looks in a row that find a resting thread before the watcher wants to be rung again."""

VACANT_FOR = 0.010
"""Seconds without a leader, and without a thread that gets free, after which the desk opens."""


class Watcher:
    """One thread of a worker that serves nothing."""

    def __init__(
        self,
        lead: Leadership,
        parking: Parking,
        seats: list[Seat],
        growth: Growth,
        *,
        start_thread: Callable[[], bool],
        held_up: Callable[[Seat], None],
        expected_to_wait: Callable[[Seat], bool],
        open_desk: Callable[[], None],
        has_held: Callable[[], bool],
    ) -> None:
        """``held_up`` hears of a leader that waited. ``start_thread``: False when there is none.

        ``expected_to_wait``: whether the request of this seat is. ``has_held``: whether responses
        wait to be sent by the thread that leads next.
        """
        self._lead = lead
        self._parking = parking
        self._seats = seats
        self._growth = growth
        self._start_thread = start_thread
        self._held_up = held_up
        self._expected_to_wait = expected_to_wait
        self._open_desk = open_desk
        self._has_held = has_held
        self._quiet = 0
        self._calm = 0.0
        self._seen: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
        """At the last look at the leader: since when it had its event, the time, and the CPU clocks
        of the leader and of the process."""
        self._enough = 0
        """Looks in a row that found a thread that rests."""
        self._vacant: tuple[int, float] = (0, 0.0)
        """The sum of the seats' turns when the lead was first seen vacant, and when that was."""

    def start(self) -> None:
        """Watch from now on."""
        threading.Thread(target=self._watch, name="watcher", daemon=True).start()

    def _watch(self) -> None:
        lead = self._lead
        while True:
            pause = self.look(time.monotonic())
            if pause < math.inf:
                lead.wait_for_bell(pause)
                continue
            lead.asleep = True
            # The leader may have begun with an event, or called the last thread, before this line.
            if not (lead.short or (lead.term and lead.term.since)):
                lead.wait_for_bell(-1)
            lead.asleep = False
            self._quiet = 0
            self._calm = 0.0

    def look(self, now: float) -> float:
        """Look, and act; seconds until the next look, infinite: until the bell is rung."""
        term = self._lead.term
        pause = self._look_at(term, now) if term else math.inf
        if self._lead.short:
            pause = min(pause, self._reinforce(now))
        return pause

    # The leader

    def _look_at(self, term: Term, now: float) -> float:
        since = term.since
        if not since:
            self._quiet += 1
            return max(COMPUTES_FOR, self._calm) if self._quiet <= _ALERT else math.inf
        self._quiet = 0
        seen, looked, cpu, of_all = self._seen
        if since != seen:  # the leader gets on
            self._seen = since, now, _cpu_clock(term.seat), time.process_time()
            self._calm = min(self._calm + _CALM, _CALMEST)
            # A leader that seems held up is looked at again soon: does its CPU clock stand still?
            left = since + WAITS_FOR - now
            return max(left, self._calm) if left > 0 else WAITS_FOR / 2
        waits = (
            _cpu_clock(term.seat) - cpu < _COMPUTING * (now - looked)
            # A thread that waits for the interpreter stands still while another one computes.
            and time.process_time() - of_all < _OTHERS * (now - looked)
            # On a busy machine a thread stands still that computes, or that has the interpreter.
            and not any(seat.runnable() for seat in self._seats if seat.running)
        )
        if now - since >= (WAITS_FOR if waits else COMPUTES_FOR) and self._must_go(term, waits):
            return WAITS_FOR
        return WAITS_FOR if waits else COMPUTES_FOR

    def _must_go(self, term: Term, waits: bool) -> bool:
        """Take the lead from a leader that is held up, unless there is nothing else to do."""
        if not (waits or self._parking.has_events() or self._has_held()):
            return False
        if self._lead.give_up(term):
            self._calm = 0.0
            if waits:
                self._held_up(term.seat)
        return True

    # The others

    def _reinforce(self, now: float) -> float:
        """The last resting thread was called: start one, or notice that there are no more."""
        lead = self._lead
        if lead.resting:
            self._vacant = 0, 0.0
            self._enough += 1
            # Where the last thread rests and is called all the time, do not be rung each time.
            if self._enough < _SURE:
                return VACANT_FOR
            lead.short = False
            if lead.resting:
                return math.inf
            lead.short = (
                True  # the last thread was called before `short` was cleared, and did not ring
            )
        self._enough = 0
        living = sum(not seat.vacant for seat in self._seats)
        sample = Sample(now, time.process_time())
        start, again = self._growth.decide(living, self._computing(now), sample, self._ran)
        if start and not self._start_thread():
            self._growth.failed(now)
        if again == math.inf and self._idle():
            return math.inf
        return min(again, self._look_for_vacancy(now))

    def _idle(self) -> bool:
        """Whether a leader has had nothing to serve for a while, so that the watcher may sleep.

        The leader rings when it gives up the lead, because ``short`` is cleared here.
        """
        lead = self._lead
        if self._quiet > _ALERT:
            lead.short = (
                False  # before the look: a leader that gives up the lead after it sets it again
            )
            if lead.term:
                self._vacant = 0, 0.0
                return True
            lead.short = True
        return False

    def _look_for_vacancy(self, now: float) -> float:
        if self._lead.term:
            self._vacant = 0, 0.0
            return VACANT_FOR
        turns = sum(seat.turn for seat in self._seats)
        if turns != self._vacant[0]:
            self._vacant = turns, now
        elif now - self._vacant[1] >= VACANT_FOR:
            self._open_desk()
        return VACANT_FOR

    def _computing(self, now: float) -> int:
        return sum(
            seat.running is not None
            and not self._expected_to_wait(seat)
            and now - seat.pad.began() * 1e-9 < ENDLESS
            for seat in self._seats
        )

    def _ran(self) -> dict[int, float]:
        running = [seat for seat in self._seats if seat.running]
        return {seat.index: seat.scheduled()[0] * 1e-9 for seat in running}


def _cpu_clock(seat: Seat) -> float:
    """Seconds that a leader has run. Its thread lives: a leader does not leave."""
    return time.clock_gettime(time.pthread_getcpuclockid(seat.ident))
