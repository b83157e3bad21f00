"""When a dead worker is replaced, and when none is started any more."""

from __future__ import annotations

import math

FIRST_DELAY = 0.1
FACTOR = 1.5
LONGEST_DELAY = 15.0
CALM = 30.0
"""Seconds without a death after which no earlier death counts."""

STOOD_UP = 1.0
"""Seconds online (or one request answered) that tell a worker which was killed
from one that cannot live."""

_KILLED_WEIGHT = 0.25


class RestartPolicy:
    """The restarts of one cluster.

    ``failures`` rises by 1 with each worker that died before it stood up and
    by a quarter with each that died later. Below 1 the next start may be at
    once; from there it is 100 ms x 1.5^(failures - 1), 15 s at the most, after
    the last start. One start is allowed per delay, however many workers are
    missing, so a crash loop costs the same with 2 workers and with 64. After
    30 s without a death ``failures`` is 0 again.

    ``attempts`` counts deaths in a row of workers that never stood up; at
    ``limit`` the policy is exhausted and nothing starts until `reset`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failures = 0.0
        self.attempts = 0
        self._last_start = float("-inf")
        self._last_death = float("-inf")

    @property
    def exhausted(self) -> bool:
        """Whether so many starts in a row have failed that there are no more."""
        return self.attempts >= self.limit

    def started(self, now: float) -> None:
        """A worker or pool was started (``now``: monotonic seconds)."""
        self._last_start = now

    def died(self, now: float, stood_up: bool) -> None:
        """A worker or pool died that was not asked to leave."""
        if now - self._last_death > CALM:
            self.failures = 0.0
        self._last_death = now
        self.failures += _KILLED_WEIGHT if stood_up else 1.0
        self.attempts = 0 if stood_up else self.attempts + 1

    def next_start(self, now: float) -> float:
        """The earliest time of the next start; never before ``now``."""
        delay = self.delay(now)
        return max(now, self._last_start + delay) if delay else now

    def delay(self, now: float) -> float:
        """Seconds from one start to the next; 0: as many as wanted may start at once."""
        if self.failures < 1 or now - self._last_death > CALM:
            return 0.0
        return min(LONGEST_DELAY, FIRST_DELAY * math.pow(FACTOR, self.failures - 1))

    def reset(self) -> None:
        """Forget everything: a user asks to try again."""
        self.failures = 0.0
        self.attempts = 0
