"""Makes room for new connections where descriptors are few: idle ones are closed for them."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.errors import LauncherError
from launcher.events.cluster import RoomExhausted, RoomRegained
from launcher.ipc.messages import Shed
from launcher.policy.capacity import (
    LEAST,
    capacity,
    has_room,
    least_descriptors,
    wanted_room,
)
from launcher.primary.connections.connections import Connections
from launcher.primary.journal import note
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer

_PAUSE = 0.1
"""Seconds that workers get to close connections before they are asked for more."""

_LOOK = 1.0
"""Seconds between looks whether there is enough room again."""

_SOME = 32
"""Connections to close when accept(2) fails though the table is not full: the descriptors are used
up by something else."""


def require_descriptors(descriptors: int, workers: int, listeners: int) -> None:
    """Raises LauncherError when these descriptors leave room for too few connections."""
    if capacity(descriptors, workers, listeners) < LEAST:
        least = least_descriptors(workers, listeners)
        raise LauncherError(
            f"{descriptors} descriptors are too few for {workers} workers, {least} are needed:"
            " raise the limit (ulimit -n, LimitNOFILE=), or have fewer workers"
        )


class Room:
    """Looks how much room there is, and asks workers for more."""

    def __init__(self, reactor: Reactor, connections: Connections, descriptors: int) -> None:
        self.workers: Sequence[WorkerHandle] = ()
        self._reactor = reactor
        self._connections = connections
        self._descriptors = descriptors
        self._told = False
        self._next_look: Timer | None = None

    def make(self, none_left: bool) -> None:
        """Have idle connections closed if few more fit; ``none_left``: none more could be had."""
        limit, count = self._connections.limit, len(self._connections)
        wanted = wanted_room(limit - count, limit)
        if none_left:
            wanted = max(wanted, _SOME)
        if wanted and self._next_look is None:
            self._tell_once()
            self._ask(wanted)
            self._next_look = self._reactor.call_later(_PAUSE, self._look)

    def _look(self) -> None:
        self._next_look = None
        self.make(self._connections.full)
        if self._next_look is None and self._told:
            limit = self._connections.limit
            if has_room(limit - len(self._connections), limit):
                self._told = False
                note(RoomRegained())
            else:
                self._next_look = self._reactor.call_later(_LOOK, self._look)

    def _tell_once(self) -> None:
        if not self._told:
            self._told = True
            note(RoomExhausted(len(self._connections), self._descriptors))

    def _ask(self, wanted: int) -> None:
        counts = [worker.held for worker in self.workers]
        total = sum(counts)
        for worker, count in zip(self.workers, counts, strict=True):
            if count:
                worker.tell(Shed(-(-wanted * count // total)))
