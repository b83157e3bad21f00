"""What the pool in charge is told about its cluster, for gunicorn's server hooks.

Level-triggered, as `Primary.step`, which calls it: what could not be told now (the pool
loads the app, or is behind) is told at another step.
"""

from __future__ import annotations

from collections import deque

from launcher.ipc.messages import Alone, Buried, Scaled
from launcher.primary.processes.generation import Generation

_MOST_DEAD = 10_000
"""Ends of processes that are remembered until they can be told: while no pool can be loaded they
add up."""


class Succession:
    """Tells the current pool of the end of earlier pools and of their workers."""

    def __init__(self) -> None:
        self._dead: deque[Buried] = deque(maxlen=_MOST_DEAD)

    def died(self, pid: int, worker_id: int = 0) -> None:
        """A pool has ended, or (``worker_id``) a worker whose own pool is dead."""
        self._dead.append(Buried(pid, worker_id))

    def tell(self, heir: Generation, alone: bool, wanted: int) -> None:
        """Tell the pool in charge, ``heir``, what it does not know yet.

        ``alone``: nothing of another generation is left. ``wanted``: how many workers there
        are to be.
        """
        while self._dead and heir.tell(self._dead[0]):
            self._dead.popleft()
        if heir.workers_told != wanted and heir.tell(Scaled(wanted)):
            heir.workers_told = wanted
        if alone and not (heir.alone or self._dead):
            heir.alone = heir.tell(Alone())
