"""Runs the app for a request that is here, and consumes the request behind its response.

A request stays in the kernel until its response is out: `Running.serve` and
`Running.serve_plain` note in the scoreboard what runs, send, and only then consume
(`launcher.worker.connection` says why in that order).
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback

from gunicorn.workers.base import Worker as GunicornWorker

from launcher import refusals
from launcher.ipc.notes import CLOSES, Notepad
from launcher.policy.serving.waiting import CAREFUL, HAND_OVER, WORTH, Route
from launcher.pool.orders import Orders
from launcher.worker.connection import body_reader
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking
from launcher.worker.connection.phase import Broken
from launcher.worker.connection.unread import Unread
from launcher.worker.exchange.closing import told_to_close
from launcher.worker.exchange.exchange import Exchange, is_safe
from launcher.worker.exchange.hotpath import HotPath
from launcher.worker.exchange.plain_request import PlainHead
from launcher.worker.request.parsing import Arrived
from launcher.worker.request.uploads import Uploads
from launcher.worker.serving.ending import Ending
from launcher.worker.serving.forecasting import UNPREPARED, Conduct, Forecasting, Lead
from launcher.worker.serving.leaving import Leaving
from launcher.worker.serving.line import Line
from launcher.worker.serving.outbox import QUICK, Held, Outbox
from launcher.worker.serving.queue import RESERVE, RESERVE_FROM, Queue
from launcher.worker.serving.seat import Job, Seat


class Running:
    """The requests that this worker's threads run, by seat, and the responses that are held."""

    def __init__(
        self,
        worker: GunicornWorker,
        orders: Orders,
        line: Line,
        parking: Parking,
        queue: Queue,
        unread: Unread,
        uploads: Uploads,
        seats: list[Seat],
        lead: Lead,
        ending: Ending,
        leaving: Leaving,
    ) -> None:
        settings = orders.settings
        self._log = worker.log
        self._row = orders.row
        self._line = line
        self._parking = parking
        self._ready = parking.ready
        self._queue = queue
        self._uploads = uploads
        self._seats = seats
        self._resting = lead.resting
        self._unread = unread
        self._ending = ending
        self._leaving = leaving
        self.forecasting = forecasting = Forecasting(lead)
        closing, threads = leaving.closing, settings.threads_max
        self.exchange = Exchange(worker, settings, orders.addresses, closing, unread)
        self.hot: HotPath | None = None
        """None where the configuration leaves no request plain."""
        if HotPath.available(worker):
            self.hot = HotPath(worker, self.exchange, threads > 1, forecasting.forecast)
        self._timeout = settings.timeout
        self._last = not settings.keepalive
        """Whether each response is the last on its connection."""
        # With one thread nothing could send them while the next request takes its time.
        self.outbox = Outbox(settings.rerun and threads > 1)

    # A request, by gunicorn's objects

    def serve(self, conn: Connection, arrived: Arrived, pad: Notepad, more: bool) -> None:
        """Run a complete request. ``more``: another may have begun behind it."""
        pulled = conn.incoming is not None
        upgrades = not pulled and arrived.request_upgrades()
        request = arrived.request
        route = self.forecasting.route(request.method, request.path)
        careful = upgrades or (not pulled and route.plan & CAREFUL)
        if careful and self._put_aside(conn, pad):
            return
        if upgrades:
            self._lend(conn, arrived, pad)
            pulled = True
        if self.outbox:
            self.send_held(pad)  # the request may take its time
        seat = self._seats[pad.thread]
        conduct = self.forecasting.prepare(route, seat)
        size = 0 if pulled else arrived.size
        safe = not pulled and is_safe(arrived)
        seat.running = Job(conn, size, request)
        now = time.monotonic_ns()
        line = f"{request.method} {request.path}".encode("latin-1", "replace")
        pad.begin(conn.serial, safe, now, conn.written, conn.consumed, size, line)
        self._leaving.introduce(conn, arrived)
        try:
            again = self.exchange.run(conn, arrived, pad)
            # Sent first, consumed after: if we die in between, the primary
            # finds the response complete and consumes the request for us.
            conn.drop(size)
            if conn.unsent_parts or (conn.pinned and not again):
                self._leaving.pin(conn, answered=True)  # a part of its body may come still
            elif conn.pinned:
                self._leaving.unpin(conn)
        finally:
            took = time.monotonic_ns() - now
            self.forecasting.learn(route, seat, took, conduct)
            pad.end(took)
            seat.running = None
        self._ending.served(conn, again, more or not request.should_close())

    def stream(self, conn: Connection, pad: Notepad) -> None:
        """Run the app, which reads the rest of the body as it comes; a place for that is taken."""
        incoming = conn.incoming
        assert incoming
        leaving = self._leaving
        try:
            self._parking.mute(conn)
            arrived = body_reader.stream(
                incoming, conn, pad, leaving.patience, lambda: leaving.silence
            )
            self.serve(conn, arrived, pad, more=True)
        finally:
            self._uploads.leave()

    def _lend(self, conn: Connection, arrived: Arrived, pad: Notepad) -> None:
        """The app is to talk on the socket itself, from the end of this head on."""
        try:
            self._leaving.pin(conn, answered=True)
            conn.drop(arrived.size)
            conn.lend()
        except BaseException:
            pad.put_off()  # its thread counted as busy, see `_put_aside`
            raise

    # A plain request

    def serve_plain(
        self, conn: Connection, data: bytes, head: PlainHead, pad: Notepad, ended: bool
    ) -> None:
        """As `serve`, for a request that is nothing but its head. ``ended``: so is the client."""
        assert self.hot
        size, outbox, route = len(data), self.outbox, head.route
        plan, seat, conduct = route.plan, self._seats[pad.thread], UNPREPARED
        if plan & CAREFUL and self._put_aside(conn, pad):
            return
        hold = (
            not plan
            and head.safe
            and outbox.open
            and bool(self._ready)
            and not self._leaving.retiring
            and bool(self._resting)  # another can send it while the next takes its time
        )
        if not hold and outbox:
            self.send_held(pad)  # the request may take its time
        if plan:
            conduct = self.forecasting.prepare(route, seat)
        now = time.monotonic_ns()
        seat.running = Job(conn, size, head)
        pad.begin(conn.serial, head.safe, now, conn.written, conn.consumed, size, data)
        try:
            again = self.hot.run(data, head, conn, pad, now, self._last, hold)
            if not conn.held:
                conn.drop(size)
                if conn.unsent_parts:
                    self._leaving.pin(conn, answered=True)
        finally:
            took = time.monotonic_ns() - now
            if plan or took > WORTH or not outbox.open:
                self._learn(route, plan, seat, took, conduct)
            else:
                route.quick += 1
            if conn.held:
                pad.put_off()
            else:
                pad.end(took)
            seat.running = None
        more = again or not head.closes
        if not conn.held:
            self._ending.served_plain(conn, again, ended, more, now + took)
        elif outbox.hold(Held(conn, data, again, ended, more, took)):
            self.send_held(pad)

    def _learn(self, route: Route, plan: int, seat: Seat, took: int, conduct: Conduct) -> None:
        """Learn from a plain request that was not as short and simple as most."""
        if plan == HAND_OVER and took > WORTH and not conduct.measured:
            route.handed_over()
        elif plan or took > WORTH:
            self.forecasting.learn(route, seat, took, conduct)
        else:
            route.quick += 1
        if took > QUICK or not self.outbox.open:
            self.outbox.saw(took)

    # Responses that are held

    def send_held(self, pad: Notepad) -> None:
        """Send the responses that wait in the outbox."""
        while held := self.outbox.take():
            try:
                self._send_held(held, pad)
            except Broken:
                self._leaving.cut(held.conn)

    def _send_held(self, held: Held, pad: Notepad) -> None:
        conn, again, closing = held.conn, held.again, self._leaving.closing
        response, conn.held = conn.held, b""
        request = held.request
        size, now = len(request), time.monotonic_ns()
        if closing.begun and again and closing.ends(conn):
            response, again = told_to_close(response), False
        answer = len(response) | (0 if again else CLOSES)
        pad.begin(conn.serial, True, now, conn.written, conn.consumed, size, request, answer)
        try:
            if conn.abandoned:  # noted before this look; see `Response._announce`
                raise Broken
            if not conn.send(response):
                self._unread.stay(conn, pad)
            conn.drop(size)
            if conn.unsent_parts:
                self._leaving.pin(conn, answered=True)
        finally:
            pad.end(held.took)
        self._ending.served_plain(conn, again, held.ended, held.more, now)

    # A request that may be a stream

    def _put_aside(self, conn: Connection, pad: Notepad) -> bool:
        """Have a request that may be a stream wait, when only the reserve is left for it.

        If it need not, its thread counts as busy from now on. Each thread counts itself before
        it looks, so of several that look at once none takes what is reserved.
        """
        row = self._row
        if row.threads < RESERVE_FROM:
            return False
        pad.claim()
        if row.busy() <= row.threads - RESERVE:
            return False
        pad.put_off()
        self._queue.put(conn, time.monotonic(), aside=True)
        self._parking.set_aside(conn)
        self._line.wake()
        return True

    @property
    def has_held(self) -> bool:
        """Whether responses wait to be sent."""
        return len(self.outbox) > 0

    # A request whose time is up

    def abandon(self, job: Job, pad: Notepad, thread: int) -> str | None:
        """Give up a request whose time is up; a line that says so, None when it has just ended.

        Its client gets 504 and its stack goes to the log. ``thread``: its
        Python identifier; the thread is lost to this worker.
        """
        conn, method, path = job.conn, job.request.method, job.request.path
        conn.abandoned = True
        if self._seats[pad.thread].running is not job:
            conn.abandoned = False
            return None
        line = f"{method} {path} took longer than {self._timeout:g} s"
        frame = sys._current_frames().get(thread)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        self._log.error("%s; its thread was here:\n%s", line, stack)
        if pad.answered():
            # A part of the response is out, and no more has come; see `Response._announce`.
            conn.reset()
        else:
            with contextlib.suppress(Broken):
                conn.drop(job.size)
                conn.send(refusals.GATEWAY_TIMEOUT)
        conn.shut()
        self.exchange.timed_out(conn, method, path, self._timeout)
        return line
