"""What the workers that are dead have done, for counters that never fall.

`Record` counts for people, who may set it to zero; this is never set back.
"""

from __future__ import annotations

from launcher.ipc.notes import BUCKETS
from launcher.policy.staffing import EXTERNAL
from launcher.primary.processes.worker_handle import WorkerHandle

CAUSES = ("crash", "timeout", "memory", "recycle", "reload", "restart", "scale", "stop")
OTHER = "other"


class Totals:
    """Sums over all workers that are dead. A worker is either in them or in the roster."""

    def __init__(self) -> None:
        self.exits = dict.fromkeys((*CAUSES, OTHER), 0)
        """Workers, by cause."""
        self.times = [0] * BUCKETS
        """Requests, as of `Row.times`."""
        self.took = 0
        """Nanoseconds, as of `Row.took`."""

    def gone(self, worker: WorkerHandle) -> None:
        """A worker is dead; its row is about to be another's."""
        why = worker.leaving.why if worker.leaving else EXTERNAL
        self.exits[why if why in self.exits else OTHER] += 1
        counts = worker.row.times()
        self.times = [total + count for total, count in zip(self.times, counts, strict=True)]
        self.took += worker.row.took()
