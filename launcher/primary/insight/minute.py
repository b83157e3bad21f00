"""How long the requests of the last minute took."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from launcher.ipc.notes import BUCKETS
from launcher.primary.insight.activity import percentiles

if TYPE_CHECKING:
    from launcher.primary.cluster.primary import Primary

__all__ = ["Minute"]

_INTERVAL = 5.0
_WINDOW = 12
"""Samples, of so many seconds each. Reading a worker's times costs some 70 µs."""

_Counts = list[int]


class Minute:
    """Samples the times of requests all the time, seldom enough to cost nothing."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._samples: deque[_Counts] = deque(maxlen=_WINDOW)
        self._seen: dict[int, _Counts] = {}
        """By worker, what is in the samples already."""

    def start(self) -> None:
        """Sample from now on."""
        self._primary.reactor.call_later(_INTERVAL, self._sample)

    def clear(self) -> None:
        """The counters were set to zero."""
        self._samples.clear()
        self._seen = self._now()

    def percentiles(self) -> dict[str, float | None]:
        """``p50`` and ``p99`` in seconds; None where nothing was answered."""
        columns = zip(*self._samples, self._new(self._now()), strict=True)
        return percentiles([sum(column) for column in columns])

    def _sample(self) -> None:
        now = self._now()
        self._samples.append(self._new(now))
        self._seen = now
        self.start()

    def _new(self, now: dict[int, _Counts]) -> _Counts:
        """What has come since the last sample, of all workers together."""
        total = [0] * BUCKETS
        for worker, counts in now.items():
            before = self._seen.get(worker, [0] * BUCKETS)
            total = [sum_ + new - old for sum_, new, old in zip(total, counts, before, strict=True)]
        return total

    def _now(self) -> dict[int, _Counts]:
        return {worker.id: worker.row.times() for worker in self._primary.roster.workers()}
