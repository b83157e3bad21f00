"""Whether one more thread would help a worker whose threads are all at work.

It helps where requests wait for something: the interpreter has time left. It does not
where two or more of them compute: threads of one interpreter take turns at that, and
the more there are the longer each takes. Nor where the interpreter is used up by many that
wait: requests would only wait for the interpreter instead of for a thread, and out of turn.
One request that computes without end is no reason to have the others wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

PAUSE = 0.001
"""Seconds between two threads that are started, at least."""

_BUSY = 0.95
"""Part of the time from which on the interpreter counts as used up."""

_WINDOW = 0.02
"""Seconds to look at before it is said that the interpreter is used up: several turns of it
(5 ms, sys.getswitchinterval)."""

_AGAIN = 0.05
"""Seconds until a refusal is thought over."""

_SEVERAL = 2

ENDLESS = 1.0
"""Seconds after which a request that computes is no reason any more to have others wait."""

_STALE = 0.2

_MOSTLY = 0.6
"""Part of all CPU time from which on it counts as that of one thread."""

FAILED = 1.0
"""Seconds until it is tried again after a thread could not be started."""


Ran = Callable[[], Mapping[int, float]]
"""Looks up how many seconds each thread that is at work has run, by seat."""


class Sample(NamedTuple):
    """What was used up to a moment, in seconds."""

    when: float
    cpu: float
    """Of the whole process."""


class Growth:
    """Decides when a worker gets one more thread."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._last: Sample | None = None
        self._used_up: tuple[Sample, Mapping[int, float]] | None = None
        """When the interpreter was first seen to be used up, and what each thread had run then."""
        self._unchecked_until = -math.inf
        self._not_before = -math.inf
        self.refused = False
        """Whether there are to be no more threads for now."""

    def decide(self, living: int, computing: int, sample: Sample, ran: Ran) -> tuple[bool, float]:
        """Whether to start a thread now; in how many seconds to ask again, if there is need.

        To be asked while no thread rests. ``computing``: requests that run and are not
        expected to wait, and have not run for so long that others cannot wait for them.
        """
        now = sample.when
        if living >= self._most:
            self.refused = False
            return False, math.inf
        if now < self._not_before:
            return False, self._not_before - now
        start, again = self._judge(living, computing, sample, ran)
        self.refused = not start and again == _AGAIN
        if start or self.refused:
            self._not_before = now + again
        return start, again

    def failed(self, now: float) -> None:
        """The thread could not be started."""
        self.refused = True
        self._not_before = now + FAILED

    def _judge(self, living: int, computing: int, sample: Sample, ran: Ran) -> tuple[bool, float]:
        last = self._last
        if living > self._least and computing >= _SEVERAL:
            return False, _AGAIN
        if living <= self._least or sample.when < self._unchecked_until:
            self._last = sample
            return True, PAUSE
        if last is None or sample.when - last.when > _STALE:
            self._last = sample
            self._used_up = None
            return False, PAUSE
        elapsed = sample.when - last.when
        if elapsed < PAUSE:
            return False, PAUSE
        if sample.cpu - last.cpu < _BUSY * elapsed:
            self._last = sample
            self._used_up = None
            return True, PAUSE
        return self._look_closely(sample, ran)

    def _look_closely(self, sample: Sample, ran: Ran) -> tuple[bool, float]:
        """The interpreter is used up: by one thread, or by many?"""
        if self._used_up is None:
            self._used_up = sample, ran()
            return False, _WINDOW
        first, before = self._used_up
        if sample.when - first.when < _WINDOW:
            return False, _WINDOW - (sample.when - first.when)
        after = ran()
        self._last, self._used_up = sample, None
        most = max((after[seat] - before[seat] for seat in after.keys() & before.keys()), default=0)
        if most > _MOSTLY * (sample.cpu - first.cpu):
            self._unchecked_until = sample.when + _WINDOW
            return True, PAUSE
        return False, _AGAIN
