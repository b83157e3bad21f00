"""When a worker that is up must go all the same: it is frozen, or has served enough."""

from __future__ import annotations

from collections.abc import Mapping

_LONGEST_LOOK = 1.0


class Pulse:
    """How long a worker has given no sign of life.

    Only time that the observer was awake for counts, a second per look at most: if the whole
    machine stood still, or the primary did, that is no fault of the worker.
    """

    def __init__(self) -> None:
        self._heartbeat = -1
        self.still_for = 0.0

    def look(self, heartbeat: int, elapsed: float) -> float:
        """``heartbeat`` as the worker last wrote it, ``elapsed`` seconds after the last look."""
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self.still_for = 0.0
        else:
            self.still_for += min(elapsed, _LONGEST_LOOK)
        return self.still_for


_COMPUTES = 0.1
"""Share of the observed time. A thread that waits for the interpreter lock computes for less of
it, the thread that holds the lock for more."""


def culprits(used: Mapping[int, float], seconds: float) -> frozenset[int]:
    """Which of the overdue requests of a frozen process keep all the others from going on.

    ``used``: by request, the CPU seconds that its thread has used in the last
    ``seconds``. A call that holds the interpreter computes, and the others wait
    for it. When none computes, it may be any of them.
    """
    computing = frozenset(request for request, cpu in used.items() if cpu > _COMPUTES * seconds)
    return computing or frozenset(used)


def staggered(limit: float, slot: int, workers: int) -> float:
    """``limit``, up to half as much again for higher slots, so that not all are due at once."""
    return limit * (1 + 0.5 * slot / max(1, workers))


class Overweight:
    """Whether a worker uses too much memory: over the limit in two samples in a row."""

    def __init__(self) -> None:
        self._samples_over = 0

    def sample(self, memory: int, limit: int) -> bool:
        """One look; bytes."""
        self._samples_over = self._samples_over + 1 if memory > limit else 0
        return self._samples_over >= 2
