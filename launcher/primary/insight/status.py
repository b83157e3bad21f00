"""What ``list`` shows of a running cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from launcher.policy.lifecycle import WorkerState
from launcher.primary.cluster.primary import Primary
from launcher.primary.insight.meter import Meter
from launcher.primary.processes.worker_handle import WorkerHandle

UNKNOWN: Mapping[str, float | None] = {"p50": None, "p99": None}
"""The times of requests where none was answered, or none was looked at."""


def report(primary: Primary, times: Mapping[str, float | None] = UNKNOWN) -> dict[str, Any]:
    """The state of the cluster, in the shape that the command line promises.

    ``times``: `p50` and `p99` of the last minute's requests, in seconds.
    """
    settings = primary.settings
    now = primary.reactor.clock()
    workers = primary.roster.workers()
    entries = [_worker(worker, now) for worker in workers]
    entries += [_empty_slot(slot, primary) for slot in primary.empty_slots()]
    entries.sort(key=lambda entry: (entry["slot"], entry["id"]))
    in_kernel = sum(worker.row.connections for worker in workers)
    return {
        "name": settings.name,
        "status": str(primary.state),
        "pid": os.getpid(),
        "app": settings.app,
        "bind": [listener.address for listener in primary.listeners],
        "policy": settings.policy,
        "generation": primary.current.number if primary.current else 0,
        "uptime": round(now - primary.started, 1),
        "workers_wanted": primary.wanted,
        "sizing": settings.sizing,
        "connections": len(primary.traffic) + in_kernel,
        "waiting": primary.traffic.waiting + sum(worker.row.waiting for worker in workers),
        "active": sum(entry["active"] for entry in entries),
        "streaming": sum(entry["streaming"] for entry in entries),
        "requests": primary.requests,
        "p50": times["p50"],
        "p99": times["p99"],
        "last_exits": _last_exits(primary),
        "restarts": dict(primary.record.restarts),
        "error": primary.error,
        "workers": entries,
    }


def description(
    primary: Primary, meter: Meter, times: Mapping[str, float | None]
) -> dict[str, Any]:
    """The answer to ``describe``: that of `report`, settings, rates and last exits."""
    rate, worker_rates = meter.per_second()
    terms = primary.terms
    return {
        "status": report(primary, times),
        "settings": terms.settings.values(),
        "mark": terms.mark,
        "requests_per_second": rate,
        "worker_rates": {str(key): value for key, value in worker_rates.items()},
        "last_exits": _last_exits(primary),
    }


def _last_exits(primary: Primary) -> list[dict[str, Any]]:
    """By slot."""
    exits = primary.record.last_exits
    return [asdict(exits[slot]) for slot in sorted(exits)]


def _worker(worker: WorkerHandle, now: float) -> dict[str, Any]:
    cpu, rss = worker.cpu_and_rss(now)
    active = worker.row.busy()
    return {
        "id": worker.id,
        "slot": worker.slot,
        "pid": worker.pid,
        "generation": worker.generation,
        "status": str(worker.state),
        "uptime": round(now - worker.since, 1),
        "requests": worker.requests,
        "active": active,
        # The worker counts its streams now and then; one may have ended since.
        "streaming": min(active, worker.row.streaming),
        "threads": worker.row.living,
        "threads_max": worker.row.threads,
        "connections": worker.connections,
        "rss": rss,
        "cpu": round(cpu, 1),
    }


def _empty_slot(slot: int, primary: Primary) -> dict[str, Any]:
    return {
        "id": 0,
        "slot": slot,
        "pid": None,
        "generation": primary.current.number if primary.current else 0,
        "status": str(WorkerState.BACKOFF),
        "uptime": 0.0,
        "requests": 0,
        "active": 0,
        "streaming": 0,
        "threads": 0,
        "threads_max": primary.settings.threads_max,
        "connections": 0,
        "rss": 0,
        "cpu": 0.0,
    }
