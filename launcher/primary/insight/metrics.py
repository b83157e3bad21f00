"""The launcher's own metrics. Counters never fall while the cluster lives.

Labels are slots and closed sets: what clients send makes no series.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence

from launcher import __version__
from launcher.ipc.notes import BOUNDS, STANDARD_BOUNDS
from launcher.policy.lifecycle import WorkerState
from launcher.policy.rescue import Action
from launcher.primary.cluster.primary import Primary
from launcher.primary.insight.exposition import Family, Sample, histogram
from launcher.primary.processes.totals import Durations
from launcher.primary.processes.worker_handle import WorkerHandle

_OUTCOMES = {
    Action.DEAL: "moved",
    Action.RERUN: "rerun",
    Action.ANSWER: "refused",
    Action.FINISH: "finished",
    Action.CUT: "closed",
}
_STATES = (WorkerState.LAUNCHING, WorkerState.ONLINE, WorkerState.RETIRING)


def families(primary: Primary) -> Iterator[Family]:
    """All of them, as things are now."""
    workers = primary.roster.workers()
    yield from _cluster(primary)
    yield from _workers(primary, workers)
    yield _reloads(primary)
    yield from _by_slot(primary, workers)
    yield from _connections(primary, workers)
    yield _durations(primary, workers)


def _cluster(primary: Primary) -> Iterator[Family]:
    labels = {
        "name": primary.settings.name,
        "version": __version__,
        "python": platform.python_version(),
    }
    yield _gauge("launcher_info", "The cluster, and what it runs on; always 1.", 1, labels)
    uptime = primary.reactor.clock() - primary.started
    yield _gauge(
        "launcher_start_time_seconds",
        "When the cluster was started, in seconds since 1970.",
        round(time.time() - uptime),
    )
    number = primary.current.number if primary.current else 0
    yield _gauge("launcher_generation", "The generation of workers that serves.", number)


def _workers(primary: Primary, workers: Sequence[WorkerHandle]) -> Iterator[Family]:
    states = [worker.state for worker in workers]
    yield Family(
        "launcher_workers",
        "gauge",
        "Workers there are, by state.",
        [Sample(states.count(state), {"state": str(state)}) for state in _STATES],
    )
    yield _gauge("launcher_workers_wanted", "Workers there are to be.", primary.wanted)
    exits = primary.record.totals.exits
    started = sum(exits.values()) + len(workers)
    yield Family("launcher_worker_starts", "counter", "Workers started.", [Sample(started)])
    yield Family(
        "launcher_worker_exits",
        "counter",
        "Workers that have ended, by cause.",
        [Sample(count, {"cause": cause}) for cause, count in exits.items()],
    )


def _reloads(primary: Primary) -> Family:
    return Family(
        "launcher_reloads",
        "counter",
        "Reloads that are over, by result.",
        [Sample(count, {"result": key}) for key, count in primary.rollouts.reloads.items()],
    )


def _by_slot(primary: Primary, workers: Sequence[WorkerHandle]) -> Iterator[Family]:
    """Sums over the workers of a slot: in a reload there are two."""
    now = primary.reactor.clock()

    def per_slot(name: str, help_: str, figure: Callable[[WorkerHandle], int]) -> Family:
        sums = dict.fromkeys(range(primary.wanted), 0)
        for worker in workers:
            sums[worker.slot] = sums.get(worker.slot, 0) + figure(worker)
        samples = [Sample(total, {"slot": str(slot)}) for slot, total in sorted(sums.items())]
        return Family(name, "gauge", help_, samples)

    yield per_slot("launcher_threads", "Serving threads there are.", lambda it: it.row.living)
    yield per_slot("launcher_threads_busy", "Threads with a request.", lambda it: it.row.busy())
    yield per_slot("launcher_threads_max", "Threads there may be.", lambda it: it.row.threads)
    yield per_slot("launcher_connections", "Connections, also idle.", lambda it: it.connections)
    yield per_slot(
        "launcher_worker_memory_bytes", "Resident memory.", lambda it: it.cpu_and_rss(now)[1]
    )


def _connections(primary: Primary, workers: Sequence[WorkerHandle]) -> Iterator[Family]:
    yield Family(
        "launcher_connections_accepted",
        "counter",
        "Connections that the primary has accepted.",
        [Sample(primary.traffic.accepted)],
    )
    waiting = primary.traffic.waiting + sum(worker.row.waiting for worker in workers)
    yield _gauge("launcher_connections_waiting", "Requests that wait for a thread.", waiting)
    yield Family(
        "launcher_refused",
        "counter",
        "Requests that the primary itself has answered, by status.",
        [Sample(count, {"code": str(status)}) for status, count in primary.traffic.refused.items()],
    )
    yield Family(
        "launcher_rescued",
        "counter",
        "Connections of workers that died, by what became of them.",
        [
            Sample(count, {"outcome": _OUTCOMES[action]})
            for action, count in primary.traffic.rescued.items()
        ],
    )


def _durations(primary: Primary, workers: Sequence[WorkerHandle]) -> Family:
    """Of the finer buckets that workers count in, those between two standard bounds make one."""
    sums = Durations()
    for gone in (primary.record.totals.durations, primary.traffic.answered_by_the_dying):
        sums.times = [ours + its for ours, its in zip(sums.times, gone.times, strict=True)]
        sums.took += gone.took
    for worker in workers:
        sums.add(worker.row)
    ends = [BOUNDS.index(bound) + 1 for bound in STANDARD_BOUNDS]
    starts = [0, *ends]
    return histogram(
        "http_server_request_duration_seconds",
        "How long the workers took for their requests.",
        [sum(sums.times[start:end]) for start, end in zip(starts, [*ends, None], strict=True)],
        [bound / 1e9 for bound in STANDARD_BOUNDS],
        sums.took / 1e9,
    )


def _gauge(name: str, help_: str, value: float, labels: dict[str, str] | None = None) -> Family:
    return Family(name, "gauge", help_, [Sample(value, labels or {})])
