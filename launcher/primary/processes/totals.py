"""What the workers that are dead have done, for counters that never fall.

`Record` counts for people, and they may set it to zero; this is never set back.
"""

from __future__ import annotations

from bisect import bisect_left

from launcher.ipc.notes import BOUNDS, BUCKETS
from launcher.ipc.scoreboard import Row
from launcher.policy.staffing import EXTERNAL
from launcher.primary.processes.worker_handle import WorkerHandle

CAUSES = ("crash", "timeout", "memory", "recycle", "reload", "restart", "scale", "stop")
OTHER = "other"


class Durations:
    """How long requests took."""

    def __init__(self) -> None:
        self.times = [0] * BUCKETS
        """How many, as of `Row.times`."""
        self.took = 0
        """Nanoseconds in all, as of `Row.took`."""

    def add(self, row: Row) -> None:
        """Add what a worker has counted."""
        self.times = [ours + its for ours, its in zip(self.times, row.times(), strict=True)]
        self.took += row.took()

    def note(self, took: int) -> None:
        """Add one request that took so many nanoseconds."""
        self.times[bisect_left(BOUNDS, took)] += 1
        self.took += took


class Totals:
    """Sums over all workers that are dead. A worker is either in them or in the roster."""

    def __init__(self) -> None:
        self.exits = dict.fromkeys((*CAUSES, OTHER), 0)
        """Workers, by cause."""
        self.durations = Durations()
        """Of the requests that they have counted."""

    def gone(self, worker: WorkerHandle) -> None:
        """A worker is dead; its row is about to be another's."""
        why = worker.leaving.why if worker.leaving else EXTERNAL
        self.exits[why if why in self.exits else OTHER] += 1
        self.durations.add(worker.row)
