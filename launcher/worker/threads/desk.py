"""What has come and waits for a thread: it is given away, or answered 503, or served yet.

When all threads are with requests nobody leads, and what arrives would wait here while
another worker has room. Then the worker's main thread sits down at the desk: it takes
the events from the epoll, runs no request, and gives back to the primary what can
travel, as long as the scoreboard shows room in another worker. Where there is none it
leaves things as they are: the next thread that gets free takes the lead, and finds
them ready. (To give everything back where all are busy would cost two hand-overs for
each request.)

A request that may be a stream and finds only the threads that are not for streams
(`_RESERVE`) waits here as well, while the others are served.

Each entry has a clock (``--queue-timeout``), which travels with its connection. It is
for connections with unread bytes only: an unasked 503 on an idle one would be taken for
the answer to its next request. It runs until a thread has looked: from then on, where the
request is not complete, the client is waited for, and that has limits of its own
(`launcher.policy.patience`).

Who does what: any thread may `put` and `forget`, a connection that it has claimed or is
about to park; only the main thread goes through the entries. An entry counts as long as
its connection is parked and has had nothing consumed since; so a thread that answers the
request need not know of it.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from launcher.worker.connection.connection import Broken, Connection, Phase
from launcher.worker.connection.parking import Parking

if TYPE_CHECKING:
    from launcher.ipc.scoreboard import Row, Scoreboard
    from launcher.worker.serving.service import Service

CADENCE = 0.02
"""Seconds between two looks while something waits: another worker may have got room."""

RESERVE = 2
"""Threads that are not for streams nor for what may become one."""

RESERVE_FROM = 8
"""Threads at most of a worker that keeps a reserve."""

_GOES_ON_HERE = (Phase.FLUSH, Phase.LINGER)
"""Needs no request to be run."""


class Entry(NamedTuple):
    """A request that waits."""

    conn: Connection
    consumed: int
    """As `Connection.consumed` was then; another now: it has been served."""
    since: float
    """When it began to wait, here or in another worker; monotonic seconds."""
    aside: bool
    """Whether it waits for a thread that streams may have."""


class Desk:
    """The requests that wait in one worker, and its main thread's part in that."""

    def __init__(
        self, service: Service, parking: Parking, row: Row, board: Scoreboard, limit: float
    ) -> None:
        """``limit``: seconds that a request may wait."""
        self.open = False
        """Whether the main thread takes the events."""
        self._service = service
        self._parking = parking
        self._row = row
        self._board = board
        self._limit = limit
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
        """What comes next on a claimed connection is its client's to send: no thread is needed."""
        if self._entries:
            self._entries.pop(conn.fd, None)

    def oldest(self, now: float) -> float:
        """Since when the request waits that has waited for the longest time; ``now``: none does."""
        return min((e.since for e in list(self._entries.values()) if self._waits(e)), default=now)

    def since(self, conn: Connection) -> float:
        """Since when the request on a claimed connection has waited; 0: it has not."""
        known = self._entries.get(conn.fd)
        waits = known and known.conn is conn and known.consumed == conn.consumed
        return known.since if known and waits else 0.0

    def take_in_what_is_ready(self) -> None:
        """See which connections that have had an event wait for a thread. For the main thread.

        A thread that gets free meanwhile may take any of them; what is there stays in turn.
        """
        ready = self._parking.ready
        for _ in range(len(ready)):
            try:
                fd, events = ready.popleft()
            except IndexError:
                return
            self._take_in(fd, events)

    def _take_in(self, fd: int, events: int) -> None:
        parking = self._parking
        conn = parking.parked.pop(fd, None) or parking.claim_missed(fd)
        if conn is None:
            return
        if conn.phase in _GOES_ON_HERE:
            self._service.go_on(conn)
            return
        if self.since(conn):
            pass  # known from the last time; asking the kernel again, for each, would take long
        elif conn.phase is Phase.BODY or _has_asked(conn):
            self.put(conn, time.monotonic())
        else:
            self.forget(conn)
        # Not armed again: a thread looks at it in any case, so no event can be missed.
        parking.parked[fd] = conn
        parking.ready.append((fd, events))

    def look(self, now: float) -> None:
        """Give away what another worker has room for; end what has waited for too long."""
        service, room = self._service, self._rooms(int(now * 1e9))
        places = service.places_for_streams
        for fd, entry in list(self._entries.items()):
            conn = entry.conn
            if not self._waits(entry):
                if self._entries.get(fd) is entry:
                    self._entries.pop(fd, None)  # a thread may `forget` it at this moment
            elif now - entry.since >= self._limit:
                if self._parking.claim(conn):
                    service.refuse_late(conn)
            elif room[entry.aside] > 0 and conn.travels:
                if self._parking.claim(conn):
                    room = [left - 1 for left in room]
                    service.give_back(conn, entry.since)
            elif entry.aside and places > 0:
                places -= 1
                self._parking.ready.append((fd, 0))
                self._parking.nudge()
        self._row.waiting = sum(map(self._waits, self._entries.values()))

    def _rooms(self, now: int) -> list[float]:
        """How many more requests other workers can begin; of those that may be streams."""
        if self._service.must_give_back:
            return [math.inf, math.inf]
        if not (self._service.may_give_back and self._entries):
            return [0, 0]
        return [self._board.room(self._row, now), self._board.room(self._row, now, streams=True)]

    def _waits(self, entry: Entry) -> bool:
        conn = entry.conn
        return self._parking.parked.get(conn.fd) is conn and conn.consumed == entry.consumed


def _has_asked(conn: Connection) -> bool:
    """Whether there is something to answer on a claimed connection."""
    try:
        return bool(conn.peek(1))
    except Broken:
        return False
