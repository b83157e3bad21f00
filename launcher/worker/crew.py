"""The threads of a worker: leader and followers on one epoll.

Who leads takes an event and serves it to its end; there is no hand-off and no
thread that only waits (`Leadership`). A connection belongs to whoever has taken
it out of `_parked`, which is a single dict operation, so no lock is needed: a
thread that finds a connection taken leaves word that there is more.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gunicorn.http.errors import NoMoreData, ParseException

from launcher import refusals
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import (
    Cut,
    Deal,
    Failed,
    Listen,
    Pinned,
    Reopen,
    Retire,
    Returned,
    Share,
    Unpinned,
    decode,
    encode,
)
from launcher.ipc.scoreboard import Notepad
from launcher.pool.application import APP_FAILED
from launcher.worker import request as requests
from launcher.worker.connection import (
    Broken,
    Connection,
    Phase,
    SecureConnection,
    tls_context,
)
from launcher.worker.exchange import SAFE_METHODS, Exchange, is_safe
from launcher.worker.hotpath import HotPath
from launcher.worker.leadership import Leadership, Term
from launcher.worker.request import IN_KERNEL, Arrived, NeedMore

if TYPE_CHECKING:
    from launcher.worker.process import Worker

# Edge-triggered: a connection that waits for its next request costs no call to
# be armed again. What that asks for in return is in `_park` and `_on_event`.
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_WRITABLE = select.EPOLLOUT | select.EPOLLET
_AT_ONCE = _READABLE | select.EPOLLOUT

_BATCH = 32
"""Events taken at once. Whoever leads next goes on with those that are left."""

_REQUEST = Phase.REQUEST
_WAITING = (Phase.REQUEST, Phase.HANDSHAKE)

_FIRST_LOOK = 4 * 1024
"""Bytes of a first look at a request; nearly all fit."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long clients may take, in seconds.

    As Apache's mod_reqtimeout: 20 s for a head, and at least 500 bytes a second for a body.
    """

    head: float = 20.0
    body: float = 20.0
    """For a body, or what is left of a response, and a second more for every ``slowest`` bytes."""
    slowest: float = 500.0
    linger: float = 2.0
    """For a client that was told of the end, since it last sent something."""
    linger_at_most: float = 30.0
    last_words: float = 1.0
    """What a client who has connected gets for its request when the cluster stops."""


_PULL = 256 * 1024
_PULLS = 16
"""Of what is only dropped, this much at once; then others get their turn."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


_Running = tuple[Connection, int, str, str]
"""What a thread runs: the connection, the request's bytes that are still in the
kernel, its method and path."""


class Crew:
    """The serving threads, the connections they share, and what is to become of those."""

    patience: ClassVar[Patience] = Patience()

    def __init__(self, worker: Worker, exchange: Exchange) -> None:
        orders = worker.orders
        self._worker = worker
        self._cfg = worker.cfg
        self._exchange = exchange
        self._row = orders.row
        self._keepalive = orders.settings.keepalive
        self._hot: HotPath | None = None
        self._channel = Channel(orders.sock)
        self._epoll = select.epoll()
        self._parked: dict[int, Connection] = {}
        """By descriptor: who waits for an event. Taken out by whoever serves it."""
        self._active = [False] * orders.settings.threads
        self._pads = [orders.row.pad(index) for index in range(len(self._active))]
        self._running: list[_Running | None] = [None] * len(self._active)
        self._idents = [0] * len(self._active)
        self._timeout = orders.settings.timeout
        self._registered: dict[int, Connection] = {}
        """By descriptor: who is known to the epoll, parked or being served."""
        self._ready: deque[tuple[int, int]] = deque()
        """Events that are taken from the epoll and not served yet."""
        self._lead = Leadership()
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._receiving = threading.Lock()
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._to_share = 0
        """Idle connections that are yet to be returned."""
        self.retiring = False
        self.final = False
        self.orphaned = False
        """Whether the primary is gone."""

    def start(self) -> None:
        """Start the threads. The app is loaded by now."""
        try:
            self._tls = tls_context(self._cfg)
        except OSError as error:
            self.tell(Failed(f"the certificate cannot be used: {error}", ""))
            sys.exit(APP_FAILED)
        if HotPath.available(self._worker):
            self._hot = HotPath(self._worker, self._exchange, multithread=len(self._active) > 1)
        self._epoll.register(self._channel.fd, select.EPOLLIN)
        self._epoll.register(self._nudge, select.EPOLLIN | select.EPOLLET)
        for index in range(len(self._active)):
            threading.Thread(
                target=self._work, args=(index,), name=f"serving-{index}", daemon=True
            ).start()

    def tell(self, message: Any) -> None:
        """Say something to the primary, if it is still there."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send_surely(encode(message))

    def finished(self) -> bool:
        """Whether a retiring worker has nothing left to do."""
        busy = sum(self._active) - sum(bool(r and r[0].abandoned) for r in self._running)
        return not self._parked and not busy

    def retire(self, final: bool) -> None:
        """Take no more; return what can travel, or when ``final`` close what is idle."""
        self.final = self.final or final
        self.retiring = True
        for fd, (listener, _) in self._listeners.items():
            self._epoll.unregister(fd)
            listener.close()
        self._listeners.clear()
        for conn in list(self._parked.values()):
            if conn.phase in _WAITING and self._claim(conn):
                self._let_go(conn)
        self._worker.wake()

    def end_overdue(self, now: int) -> str | None:
        """Give up the requests whose time is up (``now``: monotonic nanoseconds).

        Their clients get 504 and their stacks go to the log. A line that says
        so when there were any: their threads are lost to this worker.
        """
        line = None
        for running, pad in zip(self._running, self._pads, strict=True):
            started = pad.started()
            late = self._timeout and started and now - started > self._timeout * 1e9
            if running and late and not (running[0].upgraded or running[0].abandoned):
                line = self._abandon(running, pad)
        return line

    def _abandon(self, running: _Running, pad: Notepad) -> str:
        conn, size, method, path = running
        conn.abandoned = True
        line = f"{method} {path} took longer than {self._timeout:g} s"
        frame = sys._current_frames().get(self._idents[pad.thread])
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        self._worker.log.error("%s; its thread was here:\n%s", line, stack)
        if pad.answered():
            # A part is out and nothing more came; see `_announce`.
            conn.reset()
        else:
            with contextlib.suppress(Broken):
                conn.drop(size)
                conn.send(refusals.GATEWAY_TIMEOUT)
        conn.shut()
        self._exchange.timed_out(conn, method, path, self._timeout)
        return line

    def expire(self, now: float) -> None:
        """End the waits whose time is up."""
        for conn in list(self._parked.values()):
            if conn.deadline <= now and self._claim(conn):
                try:
                    self._expired(conn, now)
                except Broken:
                    self._close(conn)

    # The loop

    def _work(self, index: int) -> None:
        self._idents[index] = threading.get_ident()
        while True:
            term = self._lead.attain()
            self._serve_for(term, index)
            if self._ready:
                # Whoever leads now may be waiting already, and sees none of these.
                os.eventfd_write(self._nudge, 1)

    def _serve_for(self, term: Term, index: int) -> None:
        lead, ready, poll = self._lead, self._ready, self._epoll.poll
        pad, active = self._pads[index], self._active
        while not lead.lost(term):
            if not ready:
                term.since = 0.0
                ready.extend(poll(-1, _BATCH))
            try:
                fd, events = ready.popleft()
            except IndexError:  # whoever led before has taken it just now
                continue
            active[index] = True
            lead.serves(term)
            self._on_event(fd, events, pad)
            active[index] = False
            if self.retiring:
                self._worker.wake()

    def _on_event(self, fd: int, events: int, pad: Notepad) -> None:
        conn = self._parked.pop(fd, None)
        if conn is not None:
            self._attend(conn, events, pad)
        elif fd == self._channel.fd:
            self._receive()
        elif fd in self._listeners:
            self._accept(fd, pad)
        elif conn := self._registered.get(fd):
            # Another thread is serving it. Leave word that there is more, then
            # look again: it may have parked the connection in between.
            conn.missed = True
            if self._claim(conn):
                self._attend(conn, events, pad)

    def _attend(self, conn: Connection, events: int, pad: Notepad) -> None:
        try:
            phase = conn.phase
            if phase is _REQUEST:
                self._on_request(conn, events, pad)
            elif phase is Phase.BODY:
                self._on_body(conn, pad)
            elif phase is Phase.FLUSH:
                self._on_writable(conn)
            elif phase is Phase.HANDSHAKE:
                self._on_handshake(conn, events, pad)
            else:
                self._on_lingering(conn)
        except Broken:
            self._cut(conn)
        except BaseException:  # neither a defect nor an app's CancelledError costs a thread
            self._worker.log.exception("Error serving a connection")
            self._cut(conn)

    def _receive(self) -> None:
        if not self._receiving.acquire(blocking=False):
            return  # a leader that was held up is at it; what it leaves is reported again
        try:
            while received := self._channel.receive():
                self._heard(decode(received[0]), received[1])
        except ChannelClosed:
            self._epoll.unregister(self._channel.fd)
            self.orphaned = True
            self._worker.wake()
        finally:
            self._receiving.release()

    def _heard(self, message: Any, descriptors: list[int]) -> None:
        match message:
            case Deal():
                self._accept_deal(message, descriptors)
            case Retire(final):
                self.retire(final)
            case Share(number):
                self._share(number)
            case Listen():
                self._listen(descriptors)
            case Reopen():
                self._worker.reopen_logs()

    def _share(self, count: int) -> None:
        self._to_share = count
        for conn in list(self._parked.values()):
            if not self._to_share:
                return
            idle = conn.phase in _WAITING and not (conn.started or conn.pinned)
            if idle and self._claim(conn):
                self._give_back(conn)

    def _give_back(self, conn: Connection) -> None:
        self._to_share = max(0, self._to_share - 1)
        self._release(conn)
        self.tell(Returned([conn.serial]))

    def _accept_deal(self, deal: Deal, descriptors: list[int]) -> None:
        self._row.taken += 1
        if not descriptors:  # no room for it here (MSG_CTRUNC)
            self.tell(Returned([deal.serial]))
            return
        family = _family(self._worker.orders.addresses[deal.listener])
        # With all three given, Python asks the kernel nothing.
        sock = socket.socket(family, socket.SOCK_STREAM, 0, fileno=descriptors[0])
        # The primary asks whether we are well (serial 0) without TLS.
        kind = SecureConnection if self._tls and deal.serial else Connection
        conn = kind(
            sock, deal.serial, deal.listener, deal.host, deal.port, deal.written, deal.consumed
        )
        conn.deadline = time.monotonic() + max(self._keepalive, self.patience.head)
        # Its request is probably there: looked at before epoll is asked.
        self._parked[conn.fd] = conn
        self._ready.append((conn.fd, 0))

    def _listen(self, descriptors: list[int]) -> None:
        for index, fd in enumerate(descriptors):
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            self._listeners[fd] = (listener, index)
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _accept(self, fd: int, pad: Notepad) -> None:
        listener, index = self._listeners[fd]
        try:
            sock, address = listener.accept()
        except OSError:  # taken by another worker, or died in the backlog, or no room
            return
        sock.setblocking(True)
        host, port = address[:2] if isinstance(address, tuple) else ("", 0)
        kind = SecureConnection if self._tls else Connection
        conn = kind(sock, 0, index, host, port, kept=False)
        conn.deadline = time.monotonic() + max(self._keepalive, self.patience.head)
        self._row.connections += 1
        self._attend(conn, 0, pad)

    def _on_handshake(self, conn: Connection, events: int, pad: Notepad) -> None:
        """The first byte of TLS: from here on the connection is this process's."""
        first = conn.peek(1)
        if first is None:
            self._park(conn, _READABLE)
        elif not first:
            self._close(conn)
        else:
            assert isinstance(conn, SecureConnection)
            assert self._tls
            self._pin(conn, answered=True)
            conn.deadline = time.monotonic() + self.patience.head
            conn.phase = Phase.REQUEST
            conn.begin(self._tls)
            self._on_request(conn, events, pad)

    # A request that stays in the kernel until it is answered

    def _on_request(self, conn: Connection, events: int, pad: Notepad) -> None:
        data = conn.peek(_FIRST_LOOK)
        if data and self._hot:
            environ = self._hot.environ(data, conn)
            if environ is not None:
                self._serve_plain(conn, data, environ, pad, bool(events & select.EPOLLRDHUP))
                return
        if data is None:
            self._park(conn, _READABLE)
        elif not data:
            self._close(conn)
        else:
            self._look_closely(conn, data, bool(events & select.EPOLLRDHUP), pad)

    def _look_closely(self, conn: Connection, data: bytes, ended: bool, pad: Notepad) -> None:
        if len(data) == _FIRST_LOOK:
            data = conn.peek(IN_KERNEL) or data
        if not conn.started:
            conn.started = time.monotonic()
            conn.deadline = conn.started + self.patience.head
        # The event may have been meant for who had this descriptor before.
        ended = ended and conn.has_ended()
        if not ended and not requests.may_be_complete(data, conn.looked_at):
            self._wait_for_more(conn, data)
            return
        number = 1 if conn.consumed == 0 else conn.requests + 2
        try:
            arrived = requests.parse(data, ended, self._cfg, (conn.host, conn.port), number)
        except NeedMore:
            self._wait_for_more(conn, data)
        except (NoMoreData, StopIteration):
            self._linger(conn)  # it may still be reading the responses to earlier requests
        except ParseException as error:
            self._refuse(conn, error)
        else:
            self._on_head(conn, arrived, len(data), ended, pad)

    def _wait_for_more(self, conn: Connection, data: bytes) -> None:
        conn.looked_at = len(data)
        conn.wake_at(len(data) + 1)
        self._park(conn, _READABLE)

    def _on_head(
        self, conn: Connection, arrived: Arrived, size: int, ended: bool, pad: Notepad
    ) -> None:
        if not arrived.fits_the_kernel():
            self._pull_in(conn, arrived, pad)
        elif size >= arrived.size:
            self._serve(conn, arrived, pad, more=size > arrived.size)
        elif ended:
            self._linger(conn)
        elif conn.lowat >= arrived.size:  # woken early: the receive buffer is full before that
            self._pull_in(conn, arrived, pad)
        else:
            self._continue(conn, arrived)
            conn.started = time.monotonic()
            conn.deadline = self._body_deadline(conn.started, arrived.length)
            conn.wake_at(arrived.size)
            self._park(conn, _READABLE)

    def _body_deadline(self, started: float, size: int) -> float:
        return started + self.patience.body + size / self.patience.slowest

    def _continue(self, conn: Connection, arrived: Arrived) -> None:
        """Tell a client that asked first to send its body (RFC 9110 section 10.1.1)."""
        if arrived.request._expected_100_continue and not conn.continued:
            conn.continued = True
            conn.send(_CONTINUE)

    # A request that is too large to stay there

    def _pull_in(self, conn: Connection, arrived: Arrived, pad: Notepad) -> None:
        self._pin(conn, answered=False)
        conn.incoming = requests.Incoming(arrived)
        conn.drop(arrived.head)
        if conn.peek(1) is None:
            self._continue(conn, arrived)
        conn.phase = Phase.BODY
        conn.started = time.monotonic()
        conn.mark = conn.consumed
        conn.wake_at(1)
        self._on_body(conn, pad)

    def _on_body(self, conn: Connection, pad: Notepad) -> None:
        incoming = conn.incoming
        assert incoming
        more = False
        while not incoming.complete:
            data = conn.peek(_PULL)
            if data is None:
                conn.deadline = self._body_deadline(conn.started, conn.consumed - conn.mark)
                self._park(conn, _READABLE)
                return
            if not data:
                self._close(conn)
                return
            used = incoming.belongs(data)
            try:
                incoming.take(data[:used])
            except OSError as error:  # the disk is full
                self._refuse(conn, error)
                return
            conn.drop(used)
            more = used < len(data)
        try:
            arrived = incoming.finish()
        except (ParseException, OSError) as error:
            self._refuse(conn, error)
            return
        self._serve(conn, arrived, pad, more)

    # Serving

    def _serve(self, conn: Connection, arrived: Arrived, pad: Notepad, more: bool) -> None:
        """Run a complete request. ``more``: another may have begun behind it."""
        pulled = conn.incoming is not None
        if not pulled and arrived.request_upgrades():
            # The app will talk on the socket itself, beginning behind this head.
            conn.upgraded = True
            self._pin(conn, answered=True)
            conn.drop(arrived.size)
            conn.lend()
            pulled = True
        size = 0 if pulled else arrived.size
        safe = not pulled and is_safe(arrived)
        index = pad.thread
        self._running[index] = conn, size, arrived.request.method, arrived.request.path
        now = time.monotonic_ns()
        line = f"{arrived.request.method} {arrived.request.path}".encode("latin-1", "replace")
        pad.begin(conn.serial, safe, now, conn.written, conn.consumed, size, line)
        try:
            last = self.final or (self.retiring and conn.secure)  # it cannot travel
            again = self._exchange.run(conn, arrived, pad, last)
            # Sent first, consumed after: if we die in between, the primary
            # finds the response complete and consumes the request for us.
            conn.drop(size)
            if conn.outgoing:
                self._pin(conn, answered=True)
            elif conn.pinned:
                self._unpin(conn)
        finally:
            pad.end(time.monotonic_ns() - now)
            self._running[index] = None
        self._served(conn, again, more or not arrived.request.should_close())

    def _serve_plain(
        self, conn: Connection, data: bytes, environ: dict[str, Any], pad: Notepad, ended: bool
    ) -> None:
        """As `_serve`, for a request that is nothing but its head. ``ended``: so is the client."""
        assert self._hot
        size, method = len(data), environ["REQUEST_METHOD"]
        now = time.monotonic_ns()
        self._running[pad.thread] = conn, size, method, environ["PATH_INFO"]
        pad.begin(conn.serial, method in SAFE_METHODS, now, conn.written, conn.consumed, size, data)
        try:
            last = self.final or not self._keepalive
            again = self._hot.run(data, environ, conn, pad, now, last)
            conn.drop(size)
            if conn.outgoing:
                self._pin(conn, answered=True)
        finally:
            pad.end(time.monotonic_ns() - now)
            self._running[pad.thread] = None
        if again and not conn.outgoing and not ended and self._park_plain(conn, now):
            return
        more = environ.get("HTTP_CONNECTION", "").lower() != "close"
        self._served(conn, again, more, look_again=ended)

    def _park_plain(self, conn: Connection, now: int) -> bool:
        """As `_await_next` where nothing has changed since the last request; else False."""
        if conn.events != _READABLE or conn.lowat > 1 or conn.started or self._to_share:
            return False
        conn.deadline = now * 1e-9 + self._keepalive
        self._parked[conn.fd] = conn
        # An event or an order to retire may have come before it was parked.
        return not ((conn.missed or self.retiring) and self._claim(conn))

    def _served(self, conn: Connection, again: bool, more: bool, look_again: bool = True) -> None:
        """What comes after a response. ``more``: the client may be sending another request."""
        conn.forget_request()
        if conn.outgoing:
            self._await_reading(conn, closing=not again)
        elif again:
            self._await_next(conn, look_again)
        elif more:
            self._linger(conn)
        else:
            self._close(conn)

    def _await_next(self, conn: Connection, look_again: bool = True) -> None:
        conn.phase = Phase.REQUEST
        conn.started = 0.0
        conn.looked_at = 0
        conn.continued = False
        conn.upgraded = False
        if conn.lowat > 1:
            conn.wake_at(1)
            look_again = True
        conn.deadline = time.monotonic() + self._keepalive
        if self._to_share and conn.kept and not conn.pinned:
            self._give_back(conn)
        else:
            self._park(conn, _AT_ONCE if conn.ahead() else _READABLE, look_again)

    def _refuse(self, conn: Connection, error: Exception) -> None:
        self._pin(conn, answered=True)  # before it is: nobody is to answer once more
        self._exchange.refuse(conn, None, error)
        self._linger(conn)

    def _await_reading(self, conn: Connection, closing: bool) -> None:
        conn.closing = closing
        conn.phase = Phase.FLUSH
        conn.started = time.monotonic()
        conn.mark = conn.written
        conn.deadline = self._body_deadline(conn.started, 0)
        self._park(conn, _WRITABLE)

    def _on_writable(self, conn: Connection) -> None:
        if not conn.flush():
            conn.deadline = self._body_deadline(conn.started, conn.written - conn.mark)
            self._park(conn, _WRITABLE)
        elif conn.closing:
            self._linger(conn)
        else:
            self._unpin(conn)
            self._await_next(conn)

    # The end of a connection

    def _linger(self, conn: Connection) -> None:
        """Close without destroying what the client has not read yet (RFC 9112 section 9.6)."""
        if conn.outgoing:
            self._await_reading(conn, closing=True)
            return
        if not conn.pinned:  # what still comes is no request, for no other worker either
            self._pin(conn, answered=True)
        conn.stop_sending()
        conn.phase = Phase.LINGER
        conn.started = time.monotonic()
        conn.wake_at(1)
        self._on_lingering(conn)

    def _on_lingering(self, conn: Connection) -> None:
        data: bytes | None = None
        for _ in range(_PULLS):
            data = conn.pull(_PULL)
            if not data:
                break
        if data == b"":
            self._close(conn)
            return
        patience = self.patience
        latest = conn.started + patience.linger_at_most
        conn.deadline = min(latest, time.monotonic() + patience.linger)
        self._park(conn, _READABLE, look_again=bool(data))

    def _expired(self, conn: Connection, now: float) -> None:
        if conn.phase is Phase.FLUSH:
            self._cut(conn)
        elif conn.phase is Phase.LINGER:
            self._close(conn)
        elif conn.is_due():  # it has come in time, but no thread was free
            conn.deadline = now + self.patience.head
            self._park(conn, _READABLE, look_again=True)
        elif conn.started:
            self._pin(conn, answered=True)
            conn.send(_TIMED_OUT)
            self._linger(conn)
        else:
            self._close(conn)

    def _let_go(self, conn: Connection, look_again: bool = False) -> None:
        """In a retiring worker: give a connection that waits for a request back."""
        if conn.kept and not (self.final or conn.pinned):
            self._give_back(conn)
        elif conn.requests and not conn.started:
            self._close(conn)
        else:
            # Accepted but not yet heard: what the client is sending gets its answer.
            if self.final:
                conn.deadline = min(conn.deadline, time.monotonic() + self.patience.last_words)
            self._repark(conn, _READABLE, look_again)

    def _cut(self, conn: Connection) -> None:
        if conn.abandoned:
            self._close(conn)
        elif conn.kept:
            self._release(conn)
            self.tell(Cut(conn.serial))
        else:
            conn.reset()
            self._release(conn)

    def _close(self, conn: Connection) -> None:
        conn.shut()
        self._release(conn)

    def _release(self, conn: Connection) -> None:
        if conn.events:
            # Closing is not enough: the primary holds the same file open.
            with contextlib.suppress(OSError):
                self._epoll.unregister(conn.fd)
            self._registered.pop(conn.fd, None)
        if not conn.kept:
            self._row.connections -= 1
        conn.release()

    # Waiting

    def _park(self, conn: Connection, events: int, look_again: bool = False) -> None:
        """Leave a connection to whoever takes its next event.

        ``look_again``: something may be there already that gives no new event.
        """
        if self.retiring and conn.phase in _WAITING:
            self._let_go(conn, look_again)
            return
        self._repark(conn, events, look_again)
        # Whoever retires us may have looked before we parked.
        if self.retiring and conn.phase in _WAITING and self._claim(conn):
            self._let_go(conn)

    def _repark(self, conn: Connection, events: int = _READABLE, look_again: bool = False) -> None:
        look_again = look_again or conn.missed
        conn.missed = False
        self._watch(conn, events, look_again)
        self._parked[conn.fd] = conn
        # From here on it is anybody's; but what came a moment ago has found nobody.
        while conn.missed and self._claim(conn):
            conn.missed = False
            self._watch(conn, conn.events, look_again=True)
            self._parked[conn.fd] = conn

    def _watch(self, conn: Connection, events: int, look_again: bool) -> None:
        known, conn.events = conn.events, events
        if not known:
            self._registered[conn.fd] = conn
            self._epoll.register(conn.fd, events)
        elif known != events or look_again:
            # Makes the kernel look and report what is there (epoll_ctl(2)).
            self._epoll.modify(conn.fd, events)

    def _claim(self, conn: Connection) -> bool:
        """Take a parked connection; False when somebody else has."""
        return self._parked.pop(conn.fd, None) is not None

    def _pin(self, conn: Connection, answered: bool) -> None:
        if conn.secure and conn.pinned:
            return  # for good, and nobody else could answer
        conn.pinned = True
        if conn.kept:
            self.tell(Pinned(conn.serial, answered))

    def _unpin(self, conn: Connection) -> None:
        if conn.secure:
            return
        conn.pinned = False
        if conn.kept:
            self.tell(Unpinned(conn.serial))


def _family(address: str) -> socket.AddressFamily:
    if address.startswith("unix:"):
        return socket.AF_UNIX
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET
