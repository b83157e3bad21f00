"""Collects the children that have ended: pools, workers whose pool is gone, and, as PID 1,
whatever the system gave us (wait(2), PR_SET_CHILD_SUBREAPER in prctl(2))."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from launcher.primary.processes.worker_handle import WorkerHandle


def ended() -> Iterator[tuple[int, int]]:
    """Collect each child that has ended: its pid, and its status as from wait(2)."""
    with contextlib.suppress(ChildProcessError):  # there are no children
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:  # none of them has ended
                return
            yield pid, status


class Orphans:
    """The dead workers whose pool ended before it could collect them: they become our children."""

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}
        """By pid: the workers' ids."""

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, worker: WorkerHandle) -> None:
        """A worker has closed its channel, and its pool is dead."""
        if worker.pid:
            self._ids[worker.pid] = worker.id

    def collected(self, pid: int) -> int | None:
        """A process has been collected; the id of the worker, if it was one of these."""
        return self._ids.pop(pid, None)

    def wait(self, until: float, clock: Callable[[], float]) -> None:
        """Collect them, but no longer than ``until`` (by ``clock``).

        A killed process closes its channel a moment before it is gone.
        """
        while self._ids and clock() < until:
            for pid in list(self._ids):
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG)[0] == 0:
                        continue
                self.collected(pid)
            time.sleep(0.001)
