"""The serving threads of a worker: leader and followers on one epoll.

The leader takes events and serves each to its end (`Service`); there is no hand-off
to another thread (`Leadership`). What the primary says is an event like others.
"""

from __future__ import annotations

import select
import sys
import time

from gunicorn.workers.base import Worker as GunicornWorker

from launcher.ipc.channel import Channel
from launcher.ipc.messages import Failed
from launcher.ipc.notes import Notepad
from launcher.pool import APP_FAILED
from launcher.pool.orders import Orders
from launcher.worker.connection import unyielding
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking
from launcher.worker.connection.secure import NoTLS, tls_context
from launcher.worker.serving.line import Line
from launcher.worker.serving.queue import Queue
from launcher.worker.serving.seat import Job, Seat, Term
from launcher.worker.serving.service import Service
from launcher.worker.threads.accepting import Accepting
from launcher.worker.threads.desk import Desk
from launcher.worker.threads.inbox import Inbox
from launcher.worker.threads.leadership import Leadership
from launcher.worker.threads.staff import Staff
from launcher.worker.threads.watcher import Watcher

_WORTH_A_LINE = 1.0
"""Seconds that a request waits for a thread until the log has a line about it."""


class Crew:
    """The serving threads and what comes to them: connections and orders."""

    def __init__(
        self, worker: GunicornWorker, orders: Orders, line: Line, channel: Channel
    ) -> None:
        """``worker``: its app is loaded. ``channel``: this end of the one to the primary."""
        self._line = line
        self._log = worker.log
        self._row = orders.row
        self._timeout = orders.settings.timeout
        try:
            self._tls = tls_context(worker.cfg)
        except NoTLS as error:
            line.tell(Failed(str(error), ""))
            sys.exit(APP_FAILED)
        self._parking = Parking()
        self._parked = self._parking.parked
        self._lead = Leadership()
        settings = orders.settings
        self._staff = staff = Staff(
            settings.threads_min,
            settings.threads_max,
            self._row,
            self._lead,
            worker.log,
            self._work,
        )
        self.queue = Queue(self._parking)
        self._service = service = Service(
            worker, orders, line, self._parking, self.queue, self._tls, staff.seats, self._lead
        )
        self._leaving = service.leaving
        self._running = running = service.running
        self.desk = Desk(
            service.leaving,
            service.ending,
            self.queue,
            self._parking,
            self._row,
            orders.board,
            settings.queue_timeout,
        )
        self._watcher = Watcher(
            self._lead,
            self._parking,
            staff.seats,
            staff.growth,
            start_thread=staff.start_one,
            held_up=running.forecasting.held_up,
            expected_to_wait=running.forecasting.expected_to_wait,
            open_desk=self._open_desk,
            has_held=lambda: running.has_held,
        )
        first_wait = max(settings.keepalive, service.patience.head)
        self._accepting = Accepting(
            self._parking,
            self._row,
            worker.log,
            secure=self._tls is not None,
            first_wait=first_wait,
            shed=service.shed,
        )
        self._inbox = Inbox(
            orders,
            line,
            channel,
            self._parking,
            service,
            self.queue,
            self._accepting,
            secure=self._tls is not None,
            first_wait=first_wait,
            retire=self.retire,
        )

    @property
    def orphaned(self) -> bool:
        """Whether the primary is gone."""
        return self._inbox.orphaned

    @property
    def retiring(self) -> bool:
        """Whether no more connections are taken."""
        return self._leaving.retiring

    @property
    def final(self) -> bool:
        """Whether no other worker can take a connection: the cluster ends."""
        return self._leaving.final

    def start(self) -> None:
        """Start the threads."""
        self._parking.watch(self._inbox.fd, select.EPOLLIN)
        self._staff.start()
        self._watcher.start()
        self.publish()

    def leave_if_idle(self) -> bool:
        """Take nothing more, if a retiring worker has nothing left to do; whether that is so."""
        return self._inbox.close_if(self._at_rest)

    def _at_rest(self) -> bool:
        seats = [*self._staff.seats]
        turns = [seat.turn for seat in seats]
        given_up = sum(bool(seat.running and seat.running.conn.abandoned) for seat in seats)
        if sum(turn % 2 for turn in turns) != given_up:
            return False
        if self._parked or self._running.has_held:
            return False
        # If a turn has changed, a thread may have held a connection that was in
        # none of the tables while we looked at them.
        return [seat.turn for seat in self._staff.seats] == turns

    def retire(self, final: bool) -> None:
        """Take no more connections; as `Service.retire`."""
        self._accepting.end(final)
        self._service.retire(final)
        self.publish()
        self._line.wake()

    def pause(self) -> None:
        """Give back requests on connections that can travel, until the primary says otherwise."""
        self._leaving.paused = True

    def expire(self, now: float) -> None:
        """As `Service.expire`; and accept again, where there was no room."""
        self._service.expire(now)
        if not self.desk.open:
            self._accepting.resume()

    def go_round(self, now: float) -> None:
        """What is to be done twice a second."""
        self.expire(now)
        self._staff.look_at_streams(time.monotonic_ns(), self._running.forecasting.streams)
        self._staff.shrink(now)
        self.publish()

    def publish(self) -> None:
        """As `Staff.publish`."""
        self._staff.publish(leaving=self.retiring or self._leaving.paused)

    def soonest(self) -> float:
        """As `Service.soonest`."""
        return self._service.soonest()

    def end_overdue(self, now: int) -> str | None:
        """Give up the requests whose time is up (``now``: monotonic nanoseconds).

        A line that says so when there were any: their threads are lost to this worker.
        """
        line = None
        for seat in [*self._staff.seats]:
            running, started = seat.running, seat.pad.started()
            late = self._timeout and started and now - started > self._timeout * 1e9
            if running and late and not (running.conn.taken_over or running.conn.abandoned):
                line = self._give_up(running, seat) or line
        return line

    def _give_up(self, running: Job, seat: Seat) -> str | None:
        last, seat.sending_last = seat.sending_last, running
        if seat.pad.answered() and last is not running:
            return None  # the thread may be sending the response at this moment: one look more
        return self._running.abandon(running, seat.pad, seat.ident)

    # The desk

    @property
    def events_fd(self) -> int:
        """Readable while there are events; for the main thread while the desk is open."""
        return self._parking.fd

    def _open_desk(self) -> None:
        if not self.desk.open:
            self.publish()
            self.desk.open = True
            self._line.wake()

    def sit_at_the_desk(self, now: float) -> None:
        """For the main thread: take in what arrives while no thread leads; see `Desk`."""
        desk, parking = self.desk, self._parking
        if desk.open and self._lead.term:
            desk.open = False
            self._accepting.resume()
        elif desk.open:
            for fd, events in parking.take():
                if fd == self._inbox.fd:
                    self._inbox.receive()
                elif fd in self._accepting:
                    self._accepting.pause(fd)
                else:
                    parking.ready.append((fd, events))
            desk.take_in_what_is_ready()
            if self._lead.term:
                parking.nudge()  # the new leader may have found `ready` empty before, and wait
        if desk.open or len(self.queue) or self._row.waiting:
            desk.look(now)
        if now - self.queue.oldest(now) >= _WORTH_A_LINE:
            self._staff.tell_that_all_are_busy(now)

    # The loop

    def _work(self, seat: Seat) -> None:
        seat.occupy()
        while term := self._lead.attain(seat):
            seat.turn += 1
            self._lead_for(term, seat)
            self._go_on(seat)
            # The new leader may be blocked in `wait` already, so this thread sends them.
            self._running.send_held(seat.pad)
            self._rest(seat)
        seat.vacate()

    def _lead_for(self, term: Term, seat: Seat) -> None:
        lead, parking, ready = self._lead, self._parking, self._parking.ready
        pad, service, running = seat.pad, self._service, self._running
        if lead.term is term:
            running.send_held(pad)  # the thread that led before may be held up
        while lead.term is term:
            if not ready:
                running.send_held(pad)
                self._rest(seat)
                term.since = 0.0
                found = parking.wait()
                unyielding.crowded = len(lead.resting) + 1 < self._row.living
                service.look_ahead(found)
                seat.turn += 1
                continue  # sending may have taken so long that another leads
            term.since = time.monotonic()
            if lead.asleep:
                lead.wake()
            self._serve_next(seat)

    def _go_on(self, seat: Seat) -> None:
        """Serve what is ready, until the new leader has come to that.

        The new leader was called while this thread held the interpreter, and may be waiting for
        its turn.
        """
        lead, ready = self._lead, self._parking.ready
        while ready and not ((term := lead.term) and term.since):
            self._serve_next(seat)

    def _serve_next(self, seat: Seat) -> None:
        try:
            fd, events = self._parking.ready.popleft()
        except IndexError:  # another thread has taken it just now
            return
        conn = self._parked.pop(fd, None)
        if conn is not None:
            self._service.attend(conn, events, seat.pad)
        else:
            self._on_other_event(fd, events, seat.pad)

    def _rest(self, seat: Seat) -> None:
        """The thread has nothing in hand any more."""
        seat.turn += 1
        if self._leaving.retiring:
            self._line.wake()

    def _on_other_event(self, fd: int, events: int, pad: Notepad) -> None:
        conn: Connection | None = None
        try:
            if fd == self._inbox.fd:
                self._inbox.receive()
            elif fd in self._accepting:
                conn, events = self._accepting.accept(fd), 0
            else:
                conn = self._parking.claim_missed(fd)
        except Exception:  # a defect costs one order, not the thread that leads
            self._log.exception("Error at an order")
        if conn:
            self._service.attend(conn, events, pad)
