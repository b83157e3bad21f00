"""The serving threads of a worker: leader and followers on one epoll.

The leader takes events and serves each to its end (`Service`); there is no hand-off
to another thread (`Leadership`). What the primary says is an event like others.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import sys
import threading
import time
from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import (
    Deal,
    Deals,
    Drain,
    Failed,
    Listen,
    Reopen,
    Resume,
    Retire,
    Returned,
    Share,
    Shed,
    decode,
)
from launcher.ipc.scoreboard import Notepad
from launcher.policy.growth import Growth
from launcher.policy.waiting import STREAM
from launcher.pool import APP_FAILED
from launcher.readers import MAX_THREADS
from launcher.worker import unyielding
from launcher.worker.connection import Connection
from launcher.worker.parking import Parking
from launcher.worker.proxied import client
from launcher.worker.secure import NoTLS, SecureConnection, tls_context
from launcher.worker.service import Service
from launcher.worker.sockets import Socket
from launcher.worker.threads.desk import RESERVE, RESERVE_FROM, Desk
from launcher.worker.threads.leadership import Leadership, Term
from launcher.worker.threads.seat import Running, Seat
from launcher.worker.threads.watcher import Watcher

if TYPE_CHECKING:
    from launcher.worker.process import Worker

_ACCEPTABLE = select.EPOLLIN | select.EPOLLEXCLUSIVE

_SOME = 32
"""Idle connections that make room for new ones, where the workers accept."""

IDLE = 30.0
"""Seconds without a request after which a thread leaves."""

_WORTH_A_LINE = 1.0
"""Seconds that a request has waited for a thread."""

_QUIET = 10.0
"""Seconds without such a request after which the next one is worth a line again."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Crew:
    """The serving threads and what comes to them: connections and orders."""

    def __init__(self, worker: Worker, channel: Channel) -> None:
        """The app is loaded by now."""
        orders = worker.orders
        self.orphaned = False
        """Whether the primary is gone."""
        self._worker = worker
        self._channel = channel
        self._row = orders.row
        self._timeout = orders.settings.timeout
        try:
            self._tls = tls_context(worker.cfg)
        except NoTLS as error:
            worker.tell(Failed(str(error), ""))
            sys.exit(APP_FAILED)
        self._parking = Parking()
        self._parked = self._parking.parked
        self._seats: list[Seat] = []
        self._least = orders.settings.threads_min
        self._most = orders.settings.threads_max
        self._growth = Growth(self._least, self._most)
        self._lead = Leadership()
        self._service = Service(worker, self._parking, self._tls, self._seats, self._lead)
        self.desk = self._service.desk = Desk(
            self._service, self._parking, self._row, orders.board, orders.settings.queue_timeout
        )
        self._watcher = Watcher(
            self._lead,
            self._parking,
            self._seats,
            self._growth,
            start_thread=self._start_thread,
            held_up=self._service.held_up,
            expected_to_wait=self._service.expected_to_wait,
            open_desk=self._open_desk,
            has_held=lambda: self._service.has_held,
        )
        self._families = [_family(address) for address in orders.addresses]
        self._first_wait = max(orders.settings.keepalive, self._service.patience.head)
        self._cannot_start = False
        self._busy_told = -math.inf
        self._shrunk = 0.0
        self._receiving = threading.Lock()
        self._left = False
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._cannot = False
        self._unwatched: set[int] = set()
        """The listeners that have connections for which there was no room."""
        self._listening = threading.Lock()
        """For those two: the main thread and one that serves change them."""

    @property
    def retiring(self) -> bool:
        """Whether no more connections are taken."""
        return self._service.retiring

    @property
    def final(self) -> bool:
        """Whether there is nobody to give connections back to."""
        return self._service.final

    def start(self) -> None:
        """Start the threads."""
        self._parking.watch(self._channel.fd, select.EPOLLIN)
        for _ in range(self._least):
            self._start_thread()
        self._watcher.start()
        self.publish()

    def finished(self) -> bool:
        """Whether a retiring worker has nothing left to do. It does nothing more then."""
        with self._receiving:
            self._left = self._at_rest()
        return self._left

    def _at_rest(self) -> bool:
        seats = [*self._seats]
        turns = [seat.turn for seat in seats]
        given_up = sum(bool(seat.running and seat.running[0].abandoned) for seat in seats)
        if sum(turn % 2 for turn in turns) != given_up:
            return False
        if self._parked or self._service.has_held:
            return False
        # If a turn has changed, a thread may have held a connection that was in
        # none of the tables while we looked at them.
        return [seat.turn for seat in self._seats] == turns

    def retire(self, final: bool) -> None:
        """Take no more; as `Service.retire`."""
        with self._listening:
            while self._listeners:  # a thread may be about to accept on one
                fd, (listener, index) = self._listeners.popitem()
                self._parking.ignore(fd)
                if final:  # else the other workers go on with it
                    self._accept_the_rest(listener, index)
                listener.close()
        self._service.retire(final)
        self.publish()
        self._worker.wake()

    def pause(self) -> None:
        """Give back what else comes and can travel, until the primary says otherwise."""
        self._service.paused = True

    def expire(self, now: float) -> None:
        """As `Service.expire`; and accept again, where there was no room."""
        self._service.expire(now)
        if not self.desk.open:
            self._listen_again()

    def _listen_again(self) -> None:
        with self._listening:
            while self._unwatched:
                fd = self._unwatched.pop()
                if fd in self._listeners:
                    self._parking.watch(fd, _ACCEPTABLE)

    def go_round(self, now: float) -> None:
        """What is to be done twice a second."""
        self.expire(now)
        self.look_at_streams(time.monotonic_ns())
        if now - self._shrunk >= 1.0:
            self._shrunk = now
            self.shrink(now - IDLE)
        self.publish()

    def soonest(self) -> float:
        """As `Service.soonest`."""
        return self._service.soonest()

    def end_overdue(self, now: int) -> str | None:
        """Give up the requests whose time is up (``now``: monotonic nanoseconds).

        A line that says so when there were any: their threads are lost to this worker.
        """
        line = None
        for seat in [*self._seats]:
            running, started = seat.running, seat.pad.started()
            late = self._timeout and started and now - started > self._timeout * 1e9
            if running and late and not (running[0].taken_over or running[0].abandoned):
                line = self._give_up(running, seat) or line
        return line

    def _give_up(self, running: Running, seat: Seat) -> str | None:
        last, seat.sending_last = seat.sending_last, running
        if seat.pad.answered() and last is not running:
            return None  # it may be sending the last of it at this moment: one look more
        return self._service.abandon(running, seat.pad, seat.ident)

    # How many threads there are

    def publish(self) -> None:
        """Write into the scoreboard how many threads there are, may be, and stream."""
        row, living = self._row, sum(not seat.vacant for seat in self._seats)
        refused = self._growth.refused and not self._lead.resting
        leaving = self.retiring or self._service.paused
        capacity = 0 if leaving else living if refused else self._most
        row.living = living
        row.stream_capacity = max(0, capacity - RESERVE * (self._most >= RESERVE_FROM))
        row.capacity = capacity

    def look_at_streams(self, now: int) -> None:
        """Note which requests have turned out to be streams (``now``: monotonic nanoseconds)."""
        streaming = 0
        for seat in [*self._seats]:
            running = seat.running
            if running is None or not (running[0].taken_over or seat.pad.answered()):
                continue
            if running is not seat.answering:
                seat.answering, seat.answering_since = running, now
            elif now - seat.answering_since >= STREAM:
                streaming += 1
                if running is not seat.streaming:
                    seat.streaming = running
                    self._service.streams(running)
        self._row.streaming = streaming

    def shrink(self, idle_since: float) -> None:
        """Have a thread leave that has rested since before then, unless there are few."""
        living = sum(not seat.vacant for seat in self._seats)
        if living > self._least and self._lead.dismiss(idle_since):
            self._row.living = living - 1

    def _start_thread(self) -> bool:
        seat = next((seat for seat in self._seats if seat.vacant), None)
        if seat is None:
            seat = Seat(len(self._seats), self._row.pad(len(self._seats)))
            self._seats.append(seat)
        seat.vacant = False
        thread = threading.Thread(
            target=self._work, args=(seat,), name=f"serving-{seat.index}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            seat.vacant = True
            if not self._cannot_start:
                self._cannot_start = True
                self._worker.log.warning(
                    "%s: going on with %d threads", error, sum(not s.vacant for s in self._seats)
                )
            return False
        self._cannot_start = False
        self._row.living = sum(not seat.vacant for seat in self._seats)
        return True

    # The desk

    @property
    def events_fd(self) -> int:
        """Readable while there are events; for the main thread while the desk is open."""
        return self._parking.fd

    def _open_desk(self) -> None:
        if not self.desk.open:
            self.publish()
            self.desk.open = True
            self._worker.wake()

    def sit_at_the_desk(self, now: float) -> None:
        """For the main thread: take in what arrives while no thread leads; see `Desk`."""
        desk, parking = self.desk, self._parking
        if desk.open and self._lead.term:
            desk.open = False
            self._listen_again()
        elif desk.open:
            for fd, events in parking.take():
                if fd == self._channel.fd:
                    self._receive()
                elif fd in self._listeners:
                    self._stop_listening(fd)
                else:
                    parking.ready.append((fd, events))
            desk.take_in_what_is_ready()
            if self._lead.term:
                parking.nudge()  # the new leader may have looked before we took these
        if desk.open or len(desk) or self._row.waiting:
            desk.look(now)
        if now - desk.oldest(now) >= _WORTH_A_LINE:
            self._tell_that_all_are_busy(now)

    def _tell_that_all_are_busy(self, now: float) -> None:
        """Once, until nothing has waited for a while."""
        busy = [seat for seat in self._seats if seat.running]
        if not busy:  # we were stopped (SIGSTOP), and all threads are free again
            return
        last, self._busy_told = self._busy_told, now
        if now - last < _QUIET:
            return
        oldest = min(seat.pad.began() for seat in busy)
        streams = sum(seat.running is seat.streaming for seat in busy)
        kinds = Counter(
            f"{running[2].method} {running[2].path}" for seat in busy if (running := seat.running)
        )
        most = ", ".join(f"{count} x {what}" for what, count in kinds.most_common(3))
        self._worker.log.warning(
            "%d of %d threads are busy, one for %.1f s now (%s; %d are streams), and requests "
            "wait: %s",
            len(busy),
            sum(not seat.vacant for seat in self._seats),
            time.monotonic() - oldest * 1e-9,
            most,
            streams,
            "they compute, so more threads would not help: more workers may"
            if self._growth.refused
            else f"--threads {self._least}:{min(2 * self._most, MAX_THREADS)} allows more"
            + (", and streams need one each" if streams else ""),
        )

    # The loop

    def _work(self, seat: Seat) -> None:
        seat.occupy()
        while term := self._lead.attain(seat):
            seat.turn += 1
            self._lead_for(term, seat)
            self._go_on(seat)
            # The new leader may be waiting for events already, and does not see to these.
            self._service.send_held(seat.pad)
            self._rest(seat)
        seat.vacate()

    def _lead_for(self, term: Term, seat: Seat) -> None:
        lead, parking, ready = self._lead, self._parking, self._parking.ready
        pad, service = seat.pad, self._service
        if lead.term is term:
            service.send_held(pad)  # the thread that led before may be held up
        while lead.term is term:
            if not ready:
                service.send_held(pad)
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

        It was called while this thread held the interpreter, and may be waiting for it.
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
        if self._service.retiring:
            self._worker.wake()

    def _on_other_event(self, fd: int, events: int, pad: Notepad) -> None:
        if fd == self._channel.fd:
            self._receive()
        elif fd in self._listeners:
            self._accept(fd, pad)
        elif conn := self._parking.claim_missed(fd):
            self._service.attend(conn, events, pad)

    # What the primary says

    def _receive(self) -> None:
        if not self._receiving.acquire(blocking=False):
            return  # a leader that was held up is at it; what it leaves is reported again
        try:
            while received := self._channel.receive():
                self._heard(decode(received[0]), received[1])
        except ChannelClosed:
            self._parking.ignore(self._channel.fd)
            self.orphaned = True
            self._worker.wake()
        finally:
            self._receiving.release()

    def _heard(self, message: Any, descriptors: list[int]) -> None:
        match message:
            case Deals(deals):
                self._row.taken += len(deals)
                for deal, descriptor in zip_longest(deals, descriptors):
                    self._take(deal, descriptor)
            case Drain():
                self._service.closing.end_all()
            case Retire(final):
                self.retire(final)
            case Resume():
                self._service.paused = False
            case Share(number):
                self._service.share(number)
            case Shed(number):
                self._service.shed(number)
            case Listen():
                self._listen(descriptors)
            case Reopen():
                self._worker.reopen_logs(descriptors)

    def _take(self, deal: Deal, descriptor: int | None) -> None:
        if descriptor is None or self._left:  # no room for it here (MSG_CTRUNC), or too late
            self._worker.tell(Returned(deal.serial, deal.since))
            if descriptor is not None:
                os.close(descriptor)
            return
        serial, written, consumed, listener, port, first, since, host, text = deal
        # With all three given, Python asks the kernel for no option.
        family = self._families[listener]
        sock = Socket(family, socket.SOCK_STREAM, 0, fileno=descriptor)
        # The primary asks whether we are well (serial 0) without TLS.
        kind = SecureConnection if self._tls and serial else Connection
        conn = kind(sock, serial, listener, host, port, written, consumed)
        if text:
            conn.introduce(text, client(text))
        conn.deadline = time.monotonic() + self._first_wait
        if since:
            self.desk.put(conn, since)
        self._parking.enter(conn, first)

    # Policy "kernel": nobody deals

    def _listen(self, descriptors: list[int]) -> None:
        for index, fd in enumerate(descriptors):
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            self._listeners[fd] = (listener, index)
            self._parking.watch(fd, _ACCEPTABLE)

    def _accept(self, fd: int, pad: Notepad) -> None:
        listener, index = self._listeners.get(fd, (None, 0))
        if listener is None:
            return
        try:
            accepted, address = listener.accept()
        except OSError as error:  # taken by another worker, or died in the backlog
            if error.errno in _NO_ROOM:
                self._service.shed(_SOME)
                self._stop_watching(fd, error)
            return
        if self._cannot:
            self._cannot = False
            self._worker.log.info("accepting again")
        self._service.attend(self._entered(accepted, address, index), 0, pad)

    def _accept_the_rest(self, listener: socket.socket, index: int) -> None:
        """What is in the backlog when the last that has it open closes it would be reset."""
        with contextlib.suppress(OSError):  # there is no more; or no room for it
            while True:
                self._parking.enter(self._entered(*listener.accept(), index), first=False)
        self._parking.nudge()

    def _entered(self, accepted: socket.socket, address: Any, index: int) -> Connection:
        sock = Socket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        sock.setblocking(True)
        host, port = address[:2] if isinstance(address, tuple) else ("", 0)
        kind = SecureConnection if self._tls else Connection
        conn = kind(sock, 0, index, host, port, kept=False)
        conn.deadline = time.monotonic() + self._first_wait
        self._row.connections += 1
        return conn

    def _stop_watching(self, fd: int, error: OSError) -> None:
        """What cannot be accepted stays in the backlog and would be reported again and again."""
        if not self._cannot:
            self._cannot = True
            reason = error.strerror
            self._worker.log.warning(
                "cannot accept: %s; connections wait until there is room", reason
            )
        self._stop_listening(fd)

    def _stop_listening(self, fd: int) -> None:
        with self._listening:
            if fd in self._listeners:
                self._parking.ignore(fd)
                self._unwatched.add(fd)


def _family(address: str) -> socket.AddressFamily:
    if address.startswith("unix:"):
        return socket.AF_UNIX
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET
