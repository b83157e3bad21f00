"""The face of this room: what is done with a connection, phase by phase.

A method that is done with a connection leaves it parked, released, or given
back to the primary; no thread holds one in between.
"""

from __future__ import annotations

import ssl
import time
from heapq import nsmallest
from typing import ClassVar

from gunicorn.workers.base import Worker as GunicornWorker

from launcher.ipc.notes import Notepad
from launcher.policy.serving.patience import Patience
from launcher.pool.orders import Orders
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import READABLE, Parking
from launcher.worker.connection.phase import Broken, Phase
from launcher.worker.connection.unread import Unread
from launcher.worker.request.uploads import Uploads
from launcher.worker.serving.ending import Ending
from launcher.worker.serving.forecasting import Lead
from launcher.worker.serving.leaving import LEAVING, WAITING, Leaving
from launcher.worker.serving.line import Line
from launcher.worker.serving.queue import Queue
from launcher.worker.serving.reading import FIRST_LOOK, Reading
from launcher.worker.serving.running import Running
from launcher.worker.serving.seat import Seat

_REQUEST = Phase.REQUEST

_IDLE = 0.25
"""Seconds after which a connection counts as idle: its client is not about to send a request."""


class Service:
    """Serves the connections of one worker, in whatever thread has claimed them."""

    patience: ClassVar[Patience] = Patience()

    def __init__(
        self,
        worker: GunicornWorker,
        orders: Orders,
        line: Line,
        parking: Parking,
        queue: Queue,
        tls: ssl.SSLContext | None,
        seats: list[Seat],
        lead: Lead,
    ) -> None:
        settings, warn = orders.settings, worker.log.warning
        self._log = worker.log
        self._keepalive = settings.keepalive
        self._first_wait = max(settings.keepalive, self.patience.head)
        self._parking = parking
        self._parked = parking.parked
        self._unread = unread = Unread(settings.threads_max, self.patience, warn, self)
        self.leaving = leaving = Leaving(orders, line, parking, queue, unread, self.patience)
        self.ending = ending = Ending(leaving, parking, unread, settings.keepalive, worker.log)
        uploads = Uploads(settings.limit_request_body, settings.threads_max, warn)
        self.running = running = Running(
            worker,
            orders,
            line,
            parking,
            queue,
            unread,
            uploads,
            seats,
            lead,
            ending,
            leaving,
        )
        self._reading = Reading(worker.cfg, tls, uploads, running, ending, leaving)

    # One connection

    def look_ahead(self, events: list[tuple[int, int]]) -> None:
        """Look at the requests that have come, before the first is served.

        Doing one thing many times keeps the caches warm.
        """
        parked = self._parked
        for fd, _ in events:
            conn = parked.get(fd)
            if conn is not None and conn.phase is _REQUEST:
                conn.look_ahead(FIRST_LOOK)

    def attend(self, conn: Connection, events: int, pad: Notepad) -> None:
        """Do what can be done with a claimed connection, as far as what has arrived goes."""
        try:
            phase = conn.phase
            if phase is _REQUEST:
                self._reading.on_request(conn, events, pad)
            elif phase is Phase.BODY:
                self._reading.on_body(conn, pad)
            elif phase is Phase.HANDSHAKE:
                self._reading.on_handshake(conn, events, pad)
            else:
                self.ending.go_on(conn)
        except Broken:
            self.leaving.cut(conn)
        except BaseException:  # neither a defect nor an app's CancelledError costs a thread
            self._log.exception("Error serving a connection")
            self.leaving.cut(conn)

    # For `Unread`

    def claim_reader(self, conn: Connection) -> bool:
        """As `Ending.claim_reader`."""
        return self.ending.claim_reader(conn)

    def go_on(self, conn: Connection) -> None:
        """As `Ending.go_on`."""
        self.ending.go_on(conn)

    def cut(self, conn: Connection) -> None:
        """As `Leaving.cut`."""
        self.leaving.cut(conn)

    # All that wait

    def retire(self, final: bool) -> None:
        """Take no more; return what can travel, and hear the others for a while yet.

        ``final``: nothing can travel any more.
        """
        leaving = self.leaving
        leaving.paused = False
        leaving.final = leaving.final or final
        if final:
            leaving.closing.end_all()
        else:
            leaving.closing.end_what_cannot_travel()
        leaving.retiring = True
        for conn in list(self._parked.values()):
            if conn.phase in LEAVING and self._parking.claim(conn):
                leaving.let_go(conn, conn.events or READABLE)

    def soonest(self) -> float:
        """When the next wait is to end, in monotonic seconds; see `expire`."""
        return min((conn.deadline for conn in list(self._parked.values())), default=float("inf"))

    def share(self, count: int) -> None:
        """Return so many idle connections, now or as they become idle."""
        leaving = self.leaving
        leaving.to_share = count
        for conn in list(self._parked.values()):
            if not leaving.to_share:
                return
            idle = conn.phase in WAITING and not (conn.started or conn.pinned)
            if idle and self._parking.claim(conn):
                leaving.give_back(conn)

    def shed(self, count: int) -> None:
        """Close idle connections, first those that have been idle for longest."""
        latest = time.monotonic() - _IDLE
        idle = [
            conn
            for conn in list(self._parked.values())
            if conn.phase in WAITING and self._idle_since(conn) < latest
        ]
        for conn in nsmallest(count, idle, key=lambda conn: conn.deadline):
            if self._parking.claim(conn):
                try:
                    self._close_if_idle(conn)
                except Broken:
                    self.leaving.close(conn)

    def _idle_since(self, conn: Connection) -> float:
        if conn.started or (conn.pinned and not conn.requests):
            return float("inf")  # a request, or the first handshake, has begun
        return conn.deadline - (self._keepalive if conn.requests else self._first_wait)

    def _close_if_idle(self, conn: Connection) -> None:
        if conn.peek(1):  # a request has come meanwhile
            self.leaving.park(conn, conn.events or READABLE, look_again=True)
        else:
            self.leaving.close(conn)

    def expire(self, now: float) -> None:
        """End the waits whose time is up, and leave no memory lying about."""
        self._unread.tidy(now)
        for conn in list(self._parked.values()):
            if conn.deadline <= now and self._parking.claim(conn):
                try:
                    if conn.deadline > now:  # a thread has served it since we looked
                        self.leaving.park(conn, conn.events or READABLE, look_again=True)
                    else:
                        self.ending.end_wait(conn, now)
                except Broken:
                    self.leaving.close(conn)
                except Exception:  # a defect costs the connection, not the worker
                    self._log.exception("Error ending a connection")
                    self.leaving.cut(conn)
