"""Requests that wait for a thread are given away, or answered 503, or served yet.

When all threads are with requests no thread leads, and requests that arrive would wait here
while another worker has room. Then the worker's main thread sits down at the desk: it takes
the events from the epoll, runs no request, and gives back to the primary what can
travel, as long as the scoreboard shows room in another worker. Where there is no room it
leaves things as they are: the next thread that gets free takes the lead, and finds
them ready. (To give all of them back where all are busy would cost two hand-overs for
each request.)

A request that may be a stream and finds only the threads that are not for streams
(`RESERVE`) waits here as well, while the others are served.
"""

from __future__ import annotations

import math
import time

from launcher.ipc.scoreboard import Row, Scoreboard
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking
from launcher.worker.connection.phase import Broken, Phase
from launcher.worker.serving.ending import Ending
from launcher.worker.serving.leaving import Leaving
from launcher.worker.serving.queue import Queue, places_for_streams

CADENCE = 0.02
"""Seconds between two looks while something waits: another worker may have got room."""

_GOES_ON_HERE = (Phase.FLUSH, Phase.LINGER)
"""Phases in which no request is to be run, so the main thread can go on."""


class Desk:
    """The main thread's part in serving, when no other thread is free."""

    def __init__(
        self,
        leaving: Leaving,
        ending: Ending,
        queue: Queue,
        parking: Parking,
        row: Row,
        board: Scoreboard,
        limit: float,
    ) -> None:
        """``limit``: seconds that a request may wait."""
        self.open = False
        """Whether the main thread takes the events."""
        self._leaving = leaving
        self._ending = ending
        self._queue = queue
        self._parking = parking
        self._row = row
        self._board = board
        self._limit = limit

    def take_in_what_is_ready(self) -> None:
        """Queue the requests on connections that have had an event.

        A thread that gets free meanwhile may take any of them; the rest stays in turn.
        """
        ready = self._parking.ready
        for _ in range(len(ready)):
            try:
                fd, events = ready.popleft()
            except IndexError:
                return
            self._take_in(fd, events)

    def _take_in(self, fd: int, events: int) -> None:
        parking, queue = self._parking, self._queue
        conn = parking.parked.pop(fd, None) or parking.claim_missed(fd)
        if conn is None:
            return
        if conn.phase in _GOES_ON_HERE:
            self._ending.go_on(conn)
            return
        if queue.since(conn):
            pass  # queued by an earlier look; to ask the kernel for each again would take long
        elif conn.phase is Phase.BODY or _has_asked(conn):
            queue.put(conn, time.monotonic())
        else:
            queue.forget(conn)
        # Not armed again: a thread looks at it in any case, so no event can be missed.
        parking.parked[fd] = conn
        parking.ready.append((fd, events))

    def look(self, now: float) -> None:
        """Give away what another worker has room for; end what has waited for too long."""
        leaving, queue, room = self._leaving, self._queue, self._rooms(int(now * 1e9))
        places = places_for_streams(self._row)
        for entry in queue.entries():
            conn = entry.conn
            if not queue.waits(entry):
                queue.drop(entry)
            elif now - entry.since >= self._limit:
                if self._parking.claim(conn):
                    self._ending.refuse_late(conn)
            elif room[entry.aside] > 0 and conn.travels:
                if self._parking.claim(conn):
                    room = [left - 1 for left in room]
                    leaving.give_back_request(conn, entry.since)
            elif entry.aside and places > 0:
                places -= 1
                self._parking.ready.append((conn.fd, 0))
                self._parking.nudge()
        self._row.waiting = queue.length()

    def _rooms(self, now: int) -> list[float]:
        """How many more requests other workers can begin; of those that may be streams."""
        if self._leaving.must_give_back:
            return [math.inf, math.inf]
        if not (self._leaving.may_give_back and len(self._queue)):
            return [0, 0]
        return [self._board.room(self._row, now), self._board.room(self._row, now, streams=True)]


def _has_asked(conn: Connection) -> bool:
    """Whether there is something to answer on a claimed connection."""
    try:
        return bool(conn.peek(1))
    except Broken:
        return False
