"""The threads of a worker: leader and followers on one epoll.

Who leads takes an event and serves it to its end (`Service`); there is no
hand-off and no thread that only waits (`Leadership`). What the primary says
is an event like others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
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
from launcher.pool import APP_FAILED
from launcher.worker.connection import Connection
from launcher.worker.leadership import Leadership, Term
from launcher.worker.parking import Parking
from launcher.worker.proxied import client
from launcher.worker.secure import NoTLS, SecureConnection, tls_context
from launcher.worker.service import Running, Service
from launcher.worker.sockets import Socket

if TYPE_CHECKING:
    from launcher.worker.process import Worker

_ACCEPTABLE = select.EPOLLIN | select.EPOLLEXCLUSIVE

_SOME = 32
"""Idle connections that make room for new ones, where the workers accept."""

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
        self._service = Service(worker, self._parking, self._tls)
        self._families = [_family(address) for address in orders.addresses]
        self._first_wait = max(orders.settings.keepalive, self._service.patience.head)
        self._turns = [0] * orders.settings.threads
        """By thread: how often it has begun or ceased to work, so odd while it works."""
        self._pads = [orders.row.pad(index) for index in range(len(self._turns))]
        self._idents = [0] * len(self._turns)
        self._sending_last: list[Running | None] = [None] * len(self._turns)
        """By thread: what was overdue when it was looked at last, but had its answer."""
        self._lead = Leadership()
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
        for index in range(len(self._turns)):
            threading.Thread(
                target=self._work, args=(index,), name=f"serving-{index}", daemon=True
            ).start()

    def finished(self) -> bool:
        """Whether a retiring worker has nothing left to do. It does nothing more then."""
        with self._receiving:
            self._left = self._at_rest()
        return self._left

    def _at_rest(self) -> bool:
        turns = [*self._turns]
        given_up = sum(bool(running and running[0].abandoned) for running in self._service.running)
        if sum(turn % 2 for turn in turns) != given_up:
            return False
        if self._parked or self._service.has_held:
            return False
        return self._turns == turns  # else one of them may have had it in hand just now

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
        self._worker.wake()

    def pause(self) -> None:
        """Give back what else comes and can travel, until the primary says otherwise."""
        self._service.paused = True

    def expire(self, now: float) -> None:
        """As `Service.expire`; and accept again, where there was no room."""
        self._service.expire(now)
        with self._listening:
            while self._unwatched:
                fd = self._unwatched.pop()
                if fd in self._listeners:
                    self._parking.watch(fd, _ACCEPTABLE)

    def soonest(self) -> float:
        """As `Service.soonest`."""
        return self._service.soonest()

    def end_overdue(self, now: int) -> str | None:
        """Give up the requests whose time is up (``now``: monotonic nanoseconds).

        A line that says so when there were any: their threads are lost to this worker.
        """
        line = None
        threads = zip(self._service.running, self._pads, self._idents, strict=True)
        for running, pad, thread in threads:
            started = pad.started()
            late = self._timeout and started and now - started > self._timeout * 1e9
            if running and late and not (running[0].taken_over or running[0].abandoned):
                line = self._give_up(running, pad, thread) or line
        return line

    def _give_up(self, running: Running, pad: Notepad, thread: int) -> str | None:
        last, self._sending_last[pad.thread] = self._sending_last[pad.thread], running
        if pad.answered() and last is not running:
            return None  # it may be sending the last of it at this moment: one look more
        return self._service.abandon(running, pad, thread)

    # The loop

    def _work(self, index: int) -> None:
        self._idents[index] = threading.get_ident()
        self._pads[index].sign(threading.get_native_id())
        while True:
            term = self._lead.attain()
            self._turns[index] += 1
            self._serve_for(term, index)
            # Whoever leads now may be waiting already, and sees none of these.
            self._service.send_held(self._pads[index])
            if self._parking.ready:
                self._parking.nudge()
            self._rest(index)

    def _serve_for(self, term: Term, index: int) -> None:
        lead, parking, ready, parked = self._lead, self._parking, self._parking.ready, self._parked
        pad, service = self._pads[index], self._service
        service.send_held(pad)  # whoever led before may be held up
        while lead.term is term:
            if not ready:
                service.send_held(pad)
                self._rest(index)
                term.since = 0.0
                service.look_ahead(parking.wait())
                self._turns[index] += 1
                continue  # sending may have taken so long that another leads
            try:
                fd, events = ready.popleft()
            except IndexError:  # whoever led before has taken it just now
                continue
            term.since = time.monotonic()
            if lead.asleep:
                lead.wake()
            conn = parked.pop(fd, None)
            if conn is not None:
                service.attend(conn, events, pad)
            else:
                self._on_other_event(fd, events, pad)

    def _rest(self, index: int) -> None:
        """The thread has nothing in hand any more."""
        self._turns[index] += 1
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
            self._worker.tell(Returned([deal.serial]))
            if descriptor is not None:
                os.close(descriptor)
            return
        serial, written, consumed, listener, port, first, host, text = deal
        # With all three given, Python asks the kernel for no option.
        family = self._families[listener]
        sock = Socket(family, socket.SOCK_STREAM, 0, fileno=descriptor)
        # The primary asks whether we are well (serial 0) without TLS.
        kind = SecureConnection if self._tls and serial else Connection
        conn = kind(sock, serial, listener, host, port, written, consumed)
        if text:
            conn.introduce(text, client(text))
        conn.deadline = time.monotonic() + self._first_wait
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
        with self._listening:
            if fd in self._listeners:
                self._parking.ignore(fd)
                self._unwatched.add(fd)


def _family(address: str) -> socket.AddressFamily:
    if address.startswith("unix:"):
        return socket.AF_UNIX
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET
