"""One worker that is replaced because a user asks for it (``restart NAME/SLOT``): new one first.

Same generation, no new code. The old worker serves until the new one is ready; should that not
become ready, the old one stays. It counts as a restart, and nothing of it as a crash.
"""

from __future__ import annotations

from collections.abc import Iterable

from launcher.errors import LauncherError
from launcher.primary.processes.generation import Generation
from launcher.primary.processes.worker_handle import WorkerHandle

__all__ = ["Replacement", "replaceable"]


def replaceable(slot: int, wanted: int, online: Iterable[WorkerHandle]) -> WorkerHandle:
    """The worker in that slot, of those that are ``online``. LauncherError where there is none."""
    if slot >= wanted:
        raise LauncherError(f"there is no slot {slot}: the last one is {wanted - 1}")
    workers = list(online)
    if any(worker.replaced for worker in workers):
        raise LauncherError("a worker is being replaced: try again when it is done")
    for worker in workers:
        if worker.slot == slot:
            return worker
    raise LauncherError(f"no worker is online in slot {slot}: the next one is started")


class Replacement:
    """The old worker, and what has become of the new one."""

    def __init__(self, old: WorkerHandle) -> None:
        self.old = old
        self._given_up = False
        old.leave("restart", counted=True, once_replaced=True)

    def is_new(self, worker: WorkerHandle) -> bool:
        """Whether this is the worker that is to replace the old one."""
        place = (self.old.generation, self.old.slot)
        return (worker.generation, worker.slot) == place and worker.id > self.old.id

    def give_up(self) -> None:
        """The old worker stays, in its slot: no other is started for that."""
        self._given_up = True
        self.old.stay()

    def done(self, current: Generation) -> WorkerHandle | None:
        """The new worker once it serves."""
        if self._given_up:
            return None
        return next((worker for worker in current.online() if self.is_new(worker)), None)

    def impossible(self, current: Generation) -> str:
        """Why it cannot come to pass any more; empty: it still can."""
        if self.old.generation != current.number:
            return "its generation has been replaced"
        return "" if self.old.id in current.workers else "it has died meanwhile"
