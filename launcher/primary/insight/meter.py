"""Requests per second, of the cluster and of each worker, over the last few seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from launcher.primary.cluster.primary import Primary

_INTERVAL = 1.0
_WINDOW = 5
"""Samples to look back: a figure that neither flickers nor lags."""


class _Sample(NamedTuple):
    when: float
    total: int
    by_worker: dict[int, int]


class Meter:
    """Samples the counters once a second."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._samples: deque[_Sample] = deque(maxlen=_WINDOW)

    def start(self) -> None:
        """Sample from now on."""
        self._samples.append(self._now())
        self._primary.reactor.call_later(_INTERVAL, self.start)

    def clear(self) -> None:
        """The counters were set to zero."""
        self._samples.clear()
        self._samples.append(self._now())

    def per_second(self) -> tuple[float, dict[int, float]]:
        """Of the cluster; of each living worker, by id."""
        now, then = self._now(), self._samples[0]
        elapsed = max(now.when - then.when, _INTERVAL)
        workers = {
            worker: round((requests - then.by_worker.get(worker, 0)) / elapsed, 1)
            for worker, requests in now.by_worker.items()
        }
        return round((now.total - then.total) / elapsed, 1), workers

    def _now(self) -> _Sample:
        by_worker = {worker.id: worker.requests for worker in self._primary.roster.workers()}
        return _Sample(self._primary.reactor.clock(), self._primary.requests, by_worker)
