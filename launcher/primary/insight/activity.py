"""What ``monit`` shows: what is running, and how long requests have been taking."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher.ipc.notes import BOUNDS, BUCKETS, LINE, Activity
from launcher.policy.latency import percentile
from launcher.primary.insight.status import report

if TYPE_CHECKING:
    from launcher.primary.cluster.primary import Primary
    from launcher.primary.insight.meter import Meter

_INTERVAL = 1.0
_WINDOW = 5
"""Samples to look back, as in the meter."""

_PATIENCE = 10.0
"""Seconds after a question for which sampling goes on: the next is expected by then."""

MOST_ACTIVE = 100
"""Running requests that are told, the oldest first."""

_Counts = list[int]
_NONE = [0] * BUCKETS


class Latencies:
    """Samples the times of requests, but only while they are asked for.

    The first answer covers the time since each worker's start (or since `clear`), each later
    one the last 5 s.
    """

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._samples: deque[dict[int, _Counts]] = deque(maxlen=_WINDOW)
        self._cleared: dict[int, _Counts] = {}
        self._asked = 0.0

    def clear(self) -> None:
        """Begin anew: the counters were set to zero."""
        self._cleared = self._now()
        if self._samples:  # sampling goes on
            self._samples.clear()
            self._samples.append(self._cleared)

    def by_worker(self) -> dict[int, _Counts]:
        """How many requests took how long lately: counts per bucket, by worker."""
        then = self._samples[0] if self._samples else self._cleared
        found = {
            worker: [new - old for new, old in zip(counts, then.get(worker, _NONE), strict=True)]
            for worker, counts in self._now().items()
        }
        self._asked = self._primary.reactor.clock()
        if not self._samples:
            self._sample()
        return found

    def _sample(self) -> None:
        if self._primary.reactor.clock() - self._asked > _PATIENCE:
            self._samples.clear()
            return
        self._samples.append(self._now())
        self._primary.reactor.call_later(_INTERVAL, self._sample)

    def _now(self) -> dict[int, _Counts]:
        return {worker.id: worker.row.times() for worker in self._primary.roster.workers()}


def activity(
    primary: Primary, meter: Meter, latencies: Latencies, lately: Mapping[str, float | None]
) -> dict[str, Any]:
    """The answer to ``activity``: that of `report`, rates, times in seconds, running requests."""
    rate, rates = meter.per_second()
    times = latencies.by_worker()
    return {
        "status": report(primary, lately),
        "requests_per_second": rate,
        **percentiles([sum(counts) for counts in zip(*times.values(), strict=True)]),
        "workers": [
            {"id": worker, "requests_per_second": rates.get(worker, 0.0), **percentiles(counts)}
            for worker, counts in times.items()
        ],
        "active": _active(primary),
    }


def percentiles(counts: _Counts) -> dict[str, float | None]:
    """``p50`` and ``p99`` in seconds; None where nothing was answered."""
    return {"p50": _seconds(counts, 0.50), "p99": _seconds(counts, 0.99)}


def _seconds(counts: _Counts, share: float) -> float | None:
    found = percentile(counts, BOUNDS, share)
    return None if found is None else round(found / 1e9, 6)


def _active(primary: Primary) -> list[dict[str, Any]]:
    now = primary.reactor.clock()
    running: list[dict[str, Any]] = [
        {
            "id": worker.id,
            "slot": worker.slot,
            "age": round(max(0.0, now - each.began / 1e9), 3),
            "request": request_line(each),
        }
        for worker in primary.roster.workers()
        for each in worker.row.active()
    ]
    running.sort(key=lambda entry: entry["age"], reverse=True)
    return running[:MOST_ACTIVE]


def request_line(noted: Activity) -> str:
    """Method and path. Never the query, which may hold secrets of the client."""
    line, end, _ = noted.line.partition(b"\r")
    method, _, rest = line.partition(b" ")
    target, version, _ = rest.partition(b" ")
    path, query, _ = target.partition(b"?")
    whole = end or version or len(line) < LINE
    more = "?\N{HORIZONTAL ELLIPSIS}" if query else "" if whole else "\N{HORIZONTAL ELLIPSIS}"
    return f"{method.decode('latin-1')} {path.decode(errors='backslashreplace')}{more}"
