"""The requests of one worker that wait for a thread.

Each has a clock (``--queue-timeout``), which travels with its connection. The clock is for
connections with unread bytes only: an unasked 503 on an idle one would be taken for the
answer to its next request. It runs until a thread has looked at the request. If the request
is not complete then, the worker waits for the client, and that has limits of its own
(`launcher.policy.serving.patience`).

Any thread may `put` and `forget` a connection that it has claimed or is about to park; only
the main thread goes through the entries (`launcher.worker.threads.desk`). An entry counts as
long as its connection is parked and nothing has been consumed from it since; so a thread
that answers the request need not know of the entry.
"""

from __future__ import annotations

from typing import NamedTuple

from launcher.ipc.scoreboard import Row
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking

RESERVE = 2
"""Threads that are not for streams nor for what may become one."""

RESERVE_FROM = 8
"""Threads at most of a worker that keeps a reserve."""


def places_for_streams(row: Row) -> int:
    """How many requests that may be streams the worker of this row can begin now."""
    return row.threads - RESERVE * (row.threads >= RESERVE_FROM) - row.busy()


class Entry(NamedTuple):
    """A request that waits."""

    conn: Connection
    consumed: int
    """`Connection.consumed` when it began to wait. Has that grown, the request is served."""
    since: float
    """When it began to wait, here or in another worker; monotonic seconds."""
    aside: bool
    """Whether it waits for a thread that streams may have."""


class Queue:
    """The requests that wait, by the descriptor of their connection."""

    def __init__(self, parking: Parking) -> None:
        self._parked = parking.parked
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, conn: Connection, since: float, aside: bool = False) -> None:
        """A request waits since then; its connection is, or is about to be, parked."""
        known = self._entries.get(conn.fd)
        if known and known.conn is conn and known.consumed == conn.consumed:
            since = known.since
        self._entries[conn.fd] = Entry(conn, conn.consumed, since, aside)

    def forget(self, conn: Connection) -> None:
        """The next bytes on a claimed connection are its client's to send: no thread is needed."""
        if self._entries:
            self._entries.pop(conn.fd, None)

    def since(self, conn: Connection) -> float:
        """Since when the request on a claimed connection has waited; 0: it has not."""
        known = self._entries.get(conn.fd)
        waits = known and known.conn is conn and known.consumed == conn.consumed
        return known.since if known and waits else 0.0

    # For the main thread

    def entries(self) -> list[Entry]:
        """All entries, also those that count no longer; see `waits`."""
        return list(self._entries.values())

    def waits(self, entry: Entry) -> bool:
        """Whether the request still waits."""
        conn = entry.conn
        return self._parked.get(conn.fd) is conn and conn.consumed == entry.consumed

    def drop(self, entry: Entry) -> None:
        """Remove an entry that counts no longer."""
        if self._entries.get(entry.conn.fd) is entry:
            self._entries.pop(entry.conn.fd, None)  # a thread may `forget` it at this moment

    def length(self) -> int:
        """How many requests wait."""
        return sum(map(self.waits, self.entries()))

    def oldest(self, now: float) -> float:
        """Since when the request waits that has waited longest; ``now``: none does."""
        return min((entry.since for entry in self.entries() if self.waits(entry)), default=now)
