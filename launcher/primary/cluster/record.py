"""What has happened to a cluster, for people to see: counters, last exits, and its trouble."""

from __future__ import annotations

import time
from typing import NamedTuple

from launcher.events.workers import WorkerExited
from launcher.primary.processes.exits import LastExit, exit_of
from launcher.primary.processes.totals import Totals
from launcher.primary.processes.worker_handle import WorkerHandle


class Trouble(NamedTuple):
    """Why not all is well."""

    reason: str
    """One line."""
    detail: str = ""
    """Lines such as a traceback."""
    fatal: bool = False
    """Whether a cluster that was never ready cannot become so: its app does not load."""


NO_START = Trouble("its workers do not live")
"""Of a cluster that has given up before it is known how its last worker died."""


class Record:
    """Counts what happens, and remembers the last of it."""

    def __init__(self) -> None:
        reasons = ("crash", "timeout", "memory", "recycle", "reload", "restart")
        self.restarts = dict.fromkeys(reasons, 0)
        self.requests_of_the_gone = 0
        """Requests answered by workers that are dead."""
        self.last_exits: dict[int, LastExit] = {}
        """By slot."""
        self.totals = Totals()
        self.trouble: Trouble | None = None
        """The last thing that went wrong, until all workers have stood up after it."""

    @property
    def reason(self) -> str:
        """The trouble in one line; empty: there is none."""
        return self.trouble.reason if self.trouble else ""

    def gone(self, worker: WorkerHandle) -> None:
        """A worker is dead; how it ended is not known yet."""
        self.totals.gone(worker)
        self.requests_of_the_gone += worker.requests
        self.exited(exit_of(worker, None, asked=worker.leaving is not None))
        if worker.leaving and worker.leaving.counted:
            self.restarts[worker.leaving.why] += 1

    def exited(self, event: WorkerExited) -> None:
        """A dead worker ended like this, as far as is known."""
        self.last_exits[event.which.slot] = LastExit.of(event, time.time())

    def reset(self) -> None:
        """Count restarts and requests from zero again."""
        self.restarts = dict.fromkeys(self.restarts, 0)
        self.requests_of_the_gone = 0
