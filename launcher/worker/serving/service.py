"""What is done with a connection, phase by phase: wait, read, run the app, answer, end.

A method that is done with a connection leaves it parked, released, or given
back to the primary; nobody holds one in between.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import sys
import time
import traceback
from heapq import nsmallest
from typing import TYPE_CHECKING, ClassVar

from gunicorn.http.errors import NoMoreData, ParseException

from launcher import refusals
from launcher.ipc.messages import Cut, Pinned, Proxied, Returned, Unpinned
from launcher.ipc.scoreboard import CLOSES, Notepad
from launcher.policy.patience import Patience
from launcher.policy.rescue import CONTINUE
from launcher.policy.waiting import CAREFUL, HAND_OVER, MEASURE, WORTH, Forecast, Route
from launcher.worker.connection import unyielding
from launcher.worker.connection.body import Incoming
from launcher.worker.connection.connection import Broken, Connection, Phase
from launcher.worker.connection.parking import AT_ONCE, READABLE, WRITABLE, Parking
from launcher.worker.connection.secure import SecureConnection
from launcher.worker.connection.unread import Unread
from launcher.worker.exchange.closing import Closing, told_to_close
from launcher.worker.exchange.exchange import Exchange, is_safe
from launcher.worker.exchange.hotpath import HotPath, PlainHead
from launcher.worker.exchange.response import dated
from launcher.worker.request import parsing as requests
from launcher.worker.request import proxied
from launcher.worker.request.body_errors import BodyError
from launcher.worker.request.parsing import IN_KERNEL, Arrived, NeedMore
from launcher.worker.request.uploads import EARLY, Uploads
from launcher.worker.serving.outbox import QUICK, Held, Outbox
from launcher.worker.threads.desk import RESERVE, RESERVE_FROM, Desk
from launcher.worker.threads.leadership import Leadership
from launcher.worker.threads.seat import Running, Seat

if TYPE_CHECKING:
    from launcher.worker.process import Worker

_REQUEST = Phase.REQUEST
_RDHUP = int(select.EPOLLRDHUP)
_WAITING = (Phase.REQUEST, Phase.HANDSHAKE)
_LEAVING = (*_WAITING, Phase.BODY, Phase.LINGER)

_IDLE = 0.25
"""Seconds after which a connection counts as idle: its client is not about to send the next
request, as far as anybody can know."""

_FIRST_LOOK = 4 * 1024
"""Bytes of a first look at a request; nearly all fit."""


_PULL = 256 * 1024
_PULLS = 16
"""Of what is only dropped, this much at once; then others get their turn."""


class Service:
    """Serves the connections of one worker, in whatever thread has claimed them."""

    patience: ClassVar[Patience] = Patience()

    desk: Desk

    def __init__(
        self,
        worker: Worker,
        parking: Parking,
        tls: ssl.SSLContext | None,
        seats: list[Seat],
        lead: Leadership,
    ) -> None:
        settings = worker.orders.settings
        self.closing = Closing()
        self.paused = False
        """Whether requests are left to other workers, as far as they can travel there."""
        self.retiring = False
        self.final = False
        """Whether the whole cluster ends."""
        self._worker = worker
        self._cfg = worker.cfg
        self._row = worker.orders.row
        self._tls = tls
        self._keepalive = settings.keepalive
        self._first_wait = max(settings.keepalive, self.patience.head)
        self._timeout = settings.timeout
        self._parking = parking
        self._parked = parking.parked
        self._ready = parking.ready
        self._seats = seats
        self._lead = lead
        self._resting = lead.resting
        self._forecast = Forecast()
        self._sticky = settings.policy == "sticky"
        closing, most = self.closing, settings.threads_max
        self._unread = Unread(
            most,
            self.patience,
            worker.log.warning,
            self._claim_reader,
            self.attend,
            self._cut,
        )
        self._exchange = Exchange(worker, worker.orders.addresses, most, closing, self._unread)
        self._hot: HotPath | None = None
        if HotPath.available(worker):
            self._hot = HotPath(worker, self._exchange, most > 1, closing, self._forecast)
        # With one thread nobody could send them while the next request takes its time.
        self._outbox = Outbox(settings.rerun and most > 1)
        self._uploads = Uploads(settings.limit_request_body, most, worker.log.warning)
        self._to_share = 0
        """Idle connections that are yet to be returned."""

    @property
    def has_held(self) -> bool:
        """Whether responses wait to be sent."""
        return len(self._outbox) > 0

    # What the crew asks for

    def look_ahead(self, events: list[tuple[int, int]]) -> None:
        """Look at the requests that have come, before the first is served.

        Doing one thing many times keeps the caches warm.
        """
        parked = self._parked
        for fd, _ in events:
            conn = parked.get(fd)
            if conn is not None and conn.phase is _REQUEST:
                conn.look_ahead(_FIRST_LOOK)

    def attend(self, conn: Connection, events: int, pad: Notepad) -> None:
        """Do what can be done with a claimed connection, as far as what has arrived goes."""
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

    def retire(self, final: bool) -> None:
        """Take no more; return what can travel, and hear the others for a while yet.

        ``final``: nothing can travel any more.
        """
        self.paused = False
        self.final = self.final or final
        if final:
            self.closing.end_all()
        else:
            self.closing.end_what_cannot_travel()
        self.retiring = True
        for conn in list(self._parked.values()):
            if conn.phase in _LEAVING and self._parking.claim(conn):
                self._let_go(conn, conn.events or READABLE)

    def soonest(self) -> float:
        """When the next wait is to end, in monotonic seconds; see `expire`."""
        return min((conn.deadline for conn in list(self._parked.values())), default=float("inf"))

    def share(self, count: int) -> None:
        """Return so many idle connections, now or as they become idle."""
        self._to_share = count
        for conn in list(self._parked.values()):
            if not self._to_share:
                return
            idle = conn.phase in _WAITING and not (conn.started or conn.pinned)
            if idle and self._parking.claim(conn):
                self._give_back(conn)

    def shed(self, count: int) -> None:
        """Close idle connections, those first that have been so for longest."""
        latest = time.monotonic() - _IDLE
        idle = [
            conn
            for conn in list(self._parked.values())
            if conn.phase in _WAITING and self._idle_since(conn) < latest
        ]
        for conn in nsmallest(count, idle, key=lambda conn: conn.deadline):
            if self._parking.claim(conn):
                try:
                    self._close_if_idle(conn)
                except Broken:
                    self._close(conn)

    def _idle_since(self, conn: Connection) -> float:
        if conn.started or (conn.pinned and not conn.requests):
            return float("inf")  # a request, or the first handshake, has begun
        return conn.deadline - (self._keepalive if conn.requests else self._first_wait)

    def _close_if_idle(self, conn: Connection) -> None:
        if conn.peek(1):  # a request has come meanwhile
            self._park(conn, conn.events or READABLE, look_again=True)
        else:
            self._close(conn)

    def expire(self, now: float) -> None:
        """End the waits whose time is up, and leave no memory lying about."""
        self._unread.tidy(now)
        for conn in list(self._parked.values()):
            if conn.deadline <= now and self._parking.claim(conn):
                try:
                    if conn.deadline > now:  # it has been served since we looked
                        self._park(conn, conn.events or READABLE, look_again=True)
                    else:
                        self._end_wait(conn, now)
                except Broken:
                    self._close(conn)
                except Exception:  # a defect costs the connection, not the worker
                    self._worker.log.exception("Error ending a connection")
                    self._cut(conn)

    def abandon(self, running: Running, pad: Notepad, thread: int) -> str | None:
        """Give up a request whose time is up; a line that says so, None when it has just ended.

        Its client gets 504 and its stack goes to the log. ``thread``: its
        Python identifier; the thread is lost to this worker.
        """
        conn, size, request = running
        method, path = request.method, request.path
        conn.abandoned = True
        if self._seats[pad.thread].running is not running:
            conn.abandoned = False
            return None
        line = f"{method} {path} took longer than {self._timeout:g} s"
        frame = sys._current_frames().get(thread)
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

    # The beginning of a connection

    def _on_handshake(self, conn: Connection, events: int, pad: Notepad) -> None:
        """The first byte of TLS: from here on the connection is this process's."""
        first = conn.peek(1)
        if first is None:
            self._await_client(conn)
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
        if self.paused and conn.travels:
            self._give_back(conn)
            return
        ahead = conn.seen_ahead()
        data = ahead or conn.peek(_FIRST_LOOK)
        if data and self._hot and len(data) < _FIRST_LOOK:
            head = self._hot.head_of(data, conn.listener)
            if head is not None:
                self._serve_plain(conn, data, head, pad, events & _RDHUP != 0)
                return
        if ahead:
            data = conn.peek(_FIRST_LOOK)  # more may have come since
        if data is None:
            self._await_client(conn)
        elif not data:
            self._close(conn)
        else:
            self._look_closely(conn, data, events & _RDHUP != 0, pad)

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
            arrived = proxied.parse(data, ended, self._cfg, conn.peer, number, conn.proxied)
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
        self._await_client(conn)

    def _on_head(
        self, conn: Connection, arrived: Arrived, size: int, ended: bool, pad: Notepad
    ) -> None:
        try:
            self._uploads.check(arrived.length)
        except BodyError as error:
            self._refuse(conn, error, arrived)
            return
        if arrived.fits_the_kernel() and size >= arrived.size:
            self._serve(conn, arrived, pad, more=size > arrived.size)
        elif self._app_comes_first(arrived) and self._uploads.enter():
            self._take_out(conn, arrived)
            self._stream(conn, pad)
        elif not arrived.fits_the_kernel():
            self._pull_in(conn, arrived, pad)
        elif ended:
            self._linger(conn)
        elif conn.lowat >= arrived.size:  # woken early: the receive buffer is full before that
            self._pull_in(conn, arrived, pad)
        else:
            self._await_small_body(conn, arrived, size)

    @staticmethod
    def _app_comes_first(arrived: Arrived) -> bool:
        """Whether the app is to begin before the body is here, because it may refuse it."""
        expects: bool = arrived.request._expected_100_continue
        return expects or arrived.length > EARLY

    def _continue(self, conn: Connection, arrived: Arrived) -> None:
        """Tell a client that asked first to send its body (RFC 9110 section 10.1.1)."""
        if arrived.request._expected_100_continue and not conn.continued:
            conn.continued = True
            conn.send(CONTINUE)

    # A body that stays in the kernel until it is answered

    def _await_small_body(self, conn: Connection, arrived: Arrived, size: int) -> None:
        """``size``: bytes of the request that are here."""
        self._continue(conn, arrived)
        now = time.monotonic()
        if not conn.latest:
            conn.latest = now + self.patience.allowed(arrived.length)
        conn.deadline = min(conn.latest, now + self._silence)
        conn.mark = size
        conn.wake_at(arrived.size)
        self._await_client(conn)

    @property
    def _silence(self) -> float:
        """Seconds for which a body may pause."""
        return self.patience.last_silence if self.retiring else self.patience.silence

    def _still_comes(self, conn: Connection, now: float) -> bool:
        """Whether a body in the kernel has grown, and may. It wakes no thread until it is whole."""
        size = len(conn.peek(IN_KERNEL) or b"") if now < conn.latest else 0
        grown = size > conn.mark
        if grown:
            conn.mark = size
            conn.deadline = min(conn.latest, now + self._silence)
        return grown

    # A body that is too large to stay there

    def _take_out(self, conn: Connection, arrived: Arrived) -> Incoming:
        self._pin(conn, answered=False)  # before it is out: no other worker can have it any more
        self._introduce(conn, arrived)
        conn.incoming = incoming = Incoming(arrived, self._uploads)
        conn.drop(arrived.head)
        conn.wake_at(1)
        return incoming

    def _pull_in(self, conn: Connection, arrived: Arrived, pad: Notepad) -> None:
        self._take_out(conn, arrived)
        if conn.peek(1) is None:
            self._continue(conn, arrived)
        conn.phase = Phase.BODY
        conn.started = time.monotonic()
        conn.mark = conn.consumed
        self._on_body(conn, pad)

    def _on_body(self, conn: Connection, pad: Notepad) -> None:
        incoming = conn.incoming
        assert incoming
        try:
            while not incoming.whole:
                if incoming.presses and self._uploads.enter():
                    self._stream(conn, pad)
                    return
                data = conn.peek(incoming.appetite)
                if data is None:
                    self._await_body(conn)
                    return
                if not data:
                    self._close(conn)
                    return
                conn.drop(incoming.take(data))
            arrived = incoming.finish()
        except (ParseException, BodyError) as error:
            self._refuse(conn, error, incoming.arrived)
            return
        self._serve(conn, arrived, pad, more=conn.peek(1) is not None)

    def _await_body(self, conn: Connection) -> None:
        now = time.monotonic()
        latest = conn.started + self.patience.allowed(conn.consumed - conn.mark)
        conn.deadline = min(latest, now + self._silence)
        self._await_client(conn)

    def _stream(self, conn: Connection, pad: Notepad) -> None:
        """Run the app, which reads the rest of the body as it comes; there is a place for that."""
        incoming = conn.incoming
        assert incoming
        try:
            self._parking.mute(conn)
            arrived = incoming.stream(conn, pad, self.patience, lambda: self._silence)
            self._serve(conn, arrived, pad, more=True)
        finally:
            self._uploads.leave()

    # Serving

    def _serve(self, conn: Connection, arrived: Arrived, pad: Notepad, more: bool) -> None:
        """Run a complete request. ``more``: another may have begun behind it."""
        pulled = conn.incoming is not None
        upgrades = not pulled and arrived.request_upgrades()
        request = arrived.request
        route = self._forecast.route(request.method, request.path)
        careful = upgrades or (not pulled and route.plan & CAREFUL)
        if careful and self._put_aside(conn, pad):
            return
        if upgrades:
            self._lend(conn, arrived, pad)
            pulled = True
        in_lead, measured = self._prepare(route.plan, pad)
        size = 0 if pulled else arrived.size
        safe = not pulled and is_safe(arrived)
        seat = self._seats[pad.thread]
        seat.running = conn, size, request
        now = time.monotonic_ns()
        line = f"{request.method} {request.path}".encode("latin-1", "replace")
        pad.begin(conn.serial, safe, now, conn.written, conn.consumed, size, line)
        self._introduce(conn, arrived)
        try:
            again = self._exchange.run(conn, arrived, pad)
            # Sent first, consumed after: if we die in between, the primary
            # finds the response complete and consumes the request for us.
            conn.drop(size)
            if conn.unsent_parts or (conn.pinned and not again):
                self._pin(conn, answered=True)  # a part of its body may come still
            elif conn.pinned:
                self._unpin(conn)
        finally:
            took = time.monotonic_ns() - now
            self._learn(route, seat, took, in_lead, measured)
            pad.end(took)
            seat.running = None
        self._served(conn, again, more or not request.should_close())

    def _serve_plain(  # noqa: C901  # the hot path in one piece
        self, conn: Connection, data: bytes, head: PlainHead, pad: Notepad, ended: bool
    ) -> None:
        """As `_serve`, for a request that is nothing but its head. ``ended``: so is the client."""
        assert self._hot
        size, safe, outbox, route = len(data), head.safe, self._outbox, head.route
        hold = in_lead = measured = False
        if plan := route.plan:
            if plan & CAREFUL and self._put_aside(conn, pad):
                return
            in_lead, measured = self._prepare(plan, pad)
        else:
            hold = (
                safe
                and outbox.open
                and bool(self._ready)
                and not self.retiring
                and bool(self._resting)  # another can send it while the next takes its time
            )
            if not hold and outbox:
                self.send_held(pad)  # this one may take its time
        seat = self._seats[pad.thread]
        now = time.monotonic_ns()
        seat.running = conn, size, head
        pad.begin(conn.serial, safe, now, conn.written, conn.consumed, size, data)
        try:
            again = self._hot.run(data, head, conn, pad, now, not self._keepalive, hold)
            if not conn.held:
                conn.drop(size)
                if conn.unsent_parts:
                    self._pin(conn, answered=True)
        finally:
            took = time.monotonic_ns() - now
            if plan == HAND_OVER and took > WORTH:
                route.handed_over()
            elif plan or took > WORTH:
                self._learn(route, seat, took, in_lead, measured)
            else:
                route.quick += 1
            if took > QUICK or not outbox.open:
                outbox.saw(took)
            if conn.held:
                pad.put_off()
            else:
                pad.end(took)
            seat.running = None
        more = again or not head.closes
        if not conn.held:
            self._served_plain(conn, again, ended, more, now + took)
            return
        if outbox.hold((conn, data, conn.held, again, ended, more, took)):
            self.send_held(pad)

    def _lend(self, conn: Connection, arrived: Arrived, pad: Notepad) -> None:
        """The app will talk on the socket itself, beginning behind this head."""
        try:
            self._pin(conn, answered=True)
            conn.drop(arrived.size)
            conn.lend()
        except BaseException:
            pad.put_off()  # its thread counted as busy, see `_put_aside`
            raise

    def _prepare(self, plan: int, pad: Notepad) -> tuple[bool, bool]:
        """Do what `Route.plan` says before a request.

        Whether this thread keeps the lead meanwhile, and whether the request is measured.
        """
        if self._outbox:
            self.send_held(pad)  # the request may take its time
        seat = self._seats[pad.thread]
        in_lead = self._lead.leads(seat)
        if plan & HAND_OVER and in_lead:
            self._lead.give_up(seat.term)
            unyielding.crowded = True
            in_lead = False
        measured = plan & MEASURE != 0
        if measured:
            seat.begin_measuring()
        return in_lead, measured

    def _learn(self, route: Route, seat: Seat, took: int, in_lead: bool, measured: bool) -> None:
        in_lead = in_lead and self._lead.leads(seat)  # the watcher may have taken it away
        if measured and took > WORTH:
            waited, sure = seat.waited(took, WORTH)
            route.ended(took, waited, in_lead, sure)
        else:
            route.ended(took, None, in_lead)

    def _put_aside(self, conn: Connection, pad: Notepad) -> bool:
        """Have a request that may be a stream wait, when only the reserve is left for it.

        If not, its thread counts as busy from now on. Counted before it is looked at, so
        that of several threads that look at once none takes what is reserved.
        """
        row = self._row
        if row.threads < RESERVE_FROM:
            return False
        pad.claim()
        if row.busy() <= row.threads - RESERVE:
            return False
        pad.put_off()
        self.desk.put(conn, time.monotonic(), aside=True)
        self._parked[conn.fd] = conn
        self._worker.wake()
        return True

    # What the desk and the watcher ask for

    @property
    def places_for_streams(self) -> int:
        """How many requests that may be streams can begin now; see `_put_aside`."""
        row = self._row
        return row.threads - RESERVE * (row.threads >= RESERVE_FROM) - row.busy()

    @property
    def may_give_back(self) -> bool:
        """Whether a request that waits may go to another worker."""
        return not (self.final or self._sticky)

    @property
    def must_give_back(self) -> bool:
        """Whether what can travel is to go to other workers, whether they have room or not."""
        return self.paused or (self.retiring and not self.final)

    def give_back(self, conn: Connection, since: float) -> None:
        """Give a claimed connection back to the primary; its request has waited since then."""
        self._release(conn)
        self._worker.tell(Returned(conn.serial, since))

    def refuse_late(self, conn: Connection) -> None:
        """The request on a claimed connection has waited for a thread for too long."""
        try:
            if conn.phase is not Phase.BODY and conn.peek(1) is None:
                self._await_client(conn)
                return
            if conn.phase is Phase.HANDSHAKE:  # there is no way to say it yet
                self._close(conn)
                return
            self._pin(conn, answered=True)
            conn.send(dated(refusals.UNAVAILABLE))
            self._linger(conn)
        except Broken:
            self._cut(conn)

    def go_on(self, conn: Connection) -> None:
        """Do what a claimed connection needs no request run for."""
        try:
            if conn.phase is Phase.FLUSH:
                self._on_writable(conn)
            else:
                self._on_lingering(conn)
        except Broken:
            self._cut(conn)

    def held_up(self, seat: Seat) -> None:
        """A leader was held up by a request that waits."""
        if running := seat.running:
            request = running[2]
            self._forecast.route(request.method, request.path).held_up()

    def expected_to_wait(self, seat: Seat) -> bool:
        """Whether what the thread of this seat runs is expected to wait."""
        if running := seat.running:
            request = running[2]
            return self._forecast.route(request.method, request.path).waits
        return False

    def streams(self, running: Running) -> None:
        """A request has turned out to be a stream."""
        request = running[2]
        self._forecast.route(request.method, request.path).streamed()

    def send_held(self, pad: Notepad) -> None:
        """Send the responses that wait in the outbox."""
        while held := self._outbox.take():
            try:
                self._send_held(held, pad)
            except Broken:
                self._cut(held[0])

    def _send_held(self, held: Held, pad: Notepad) -> None:
        conn, request, response, again, ended, more, took = held
        size, now = len(request), time.monotonic_ns()
        conn.held = b""
        if self.closing.begun and again and self.closing.ends(conn):
            response, again = told_to_close(response), False
        answer = len(response) | (0 if again else CLOSES)
        pad.begin(conn.serial, True, now, conn.written, conn.consumed, size, request, answer)
        try:
            if conn.abandoned:  # noted first, then looked; see `Response._announce`
                raise Broken
            if not conn.send(response):
                self._unread.stay(conn, pad)
            conn.drop(size)
            if conn.unsent_parts:
                self._pin(conn, answered=True)
        finally:
            pad.end(took)
        self._served_plain(conn, again, ended, more, now)

    def _served_plain(
        self, conn: Connection, again: bool, ended: bool, more: bool, now: int
    ) -> None:
        changed = ended or conn.unsent_parts or conn.lowat > 1 or conn.started
        if again and not changed and conn.events == READABLE and not self._to_share:
            # As `_await_next` where nothing has changed since the last request.
            conn.deadline = now * 1e-9 + self._keepalive
            self._parked[conn.fd] = conn
            # An event or an order to retire may have come before it was parked.
            if not ((conn.missed or self.retiring) and self._parking.claim(conn)):
                return
        self._served(conn, again, more, look_again=ended)

    def _served(self, conn: Connection, again: bool, more: bool, look_again: bool = True) -> None:
        """What comes after a response. ``more``: the client may be sending another request."""
        conn.forget_request()
        if conn.unsent_parts:
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
        conn.latest = 0.0
        conn.looked_at = 0
        conn.continued = False
        if conn.lowat > 1:
            conn.wake_at(1)
            look_again = True
        conn.deadline = time.monotonic() + self._keepalive
        if self._to_share and conn.kept and not conn.pinned:
            self._give_back(conn)
        else:
            self._park(conn, AT_ONCE if conn.ahead() else READABLE, look_again)

    def _refuse(self, conn: Connection, error: Exception, arrived: Arrived | None = None) -> None:
        self._pin(conn, answered=True)  # before it is: nobody is to answer once more
        if arrived:
            self._introduce(conn, arrived)
        self._exchange.refuse(conn, arrived and arrived.request, error)
        self._linger(conn)

    def _await_reading(self, conn: Connection, closing: bool) -> None:
        conn.closing = closing
        conn.phase = Phase.FLUSH
        conn.started = time.monotonic()
        conn.mark = conn.taken()
        conn.deadline = conn.started + self.patience.allowed(0)
        self._unread.note(conn)
        if closing:
            conn.wake_at(1)
        self._park(conn, AT_ONCE if closing else WRITABLE)

    def _on_writable(self, conn: Connection) -> None:
        # A client may read nothing before it has sent all of a body that is not wanted.
        more = conn.closing and bool(self._drop_what_has_come(conn))
        flushed = conn.flush()
        self._unread.note(conn)
        if not flushed:
            conn.deadline = self._reading_deadline(conn)
            self._park(conn, AT_ONCE if conn.closing else WRITABLE, look_again=more)
        elif conn.closing:
            self._linger(conn)
        else:
            self._unpin(conn)
            self._await_next(conn)

    def _claim_reader(self, conn: Connection) -> bool:
        """Take a connection that waits for its client to read, for `Unread`."""
        if not self._parking.claim(conn):
            return False
        if conn.phase is Phase.FLUSH:
            return True
        # It has read all of it meanwhile, and waits for its next request.
        self._park(conn, conn.events or READABLE, look_again=True)
        return False

    def _reading_deadline(self, conn: Connection) -> float:
        return conn.started + self.patience.allowed(conn.taken() - conn.mark)

    # The end of a connection

    def _linger(self, conn: Connection) -> None:
        """Close without destroying what the client has not read yet (RFC 9112 section 9.6)."""
        if conn.unsent_parts:
            self._await_reading(conn, closing=True)
            return
        if not conn.pinned:  # what still comes is no request, for no other worker either
            self._pin(conn, answered=True)
        conn.stop_sending()
        conn.phase = Phase.LINGER
        conn.started = time.monotonic()
        conn.wake_at(1)
        self._on_lingering(conn)

    @staticmethod
    def _drop_what_has_come(conn: Connection) -> bytes | None:
        """Read and drop it; the last of it, or as `Connection.pull` when that was all."""
        data: bytes | None = None
        for _ in range(_PULLS):
            data = conn.pull(_PULL)
            if not data:
                break
        return data

    def _on_lingering(self, conn: Connection) -> None:
        data = self._drop_what_has_come(conn)
        if data == b"":
            self._close(conn)
            return
        patience = self.patience
        latest = conn.started + patience.linger_at_most
        linger = patience.last_linger if self.retiring else patience.linger
        conn.deadline = min(latest, time.monotonic() + linger)
        self._park(conn, READABLE, look_again=bool(data))

    def _end_wait(self, conn: Connection, now: float) -> None:
        if conn.phase is Phase.FLUSH:
            # It may read, and there be too little room in the kernel to send more (epoll(7)).
            conn.deadline = self._reading_deadline(conn)
            if conn.deadline > now:
                self._park(conn, WRITABLE)
            else:
                self._cut(conn)
        elif conn.phase is Phase.LINGER:
            self._close(conn)
        elif conn.is_due():  # it has come in time, but no thread was free
            conn.deadline = now + self.patience.head
            self._park(conn, READABLE, look_again=True)
        elif self._still_comes(conn, now):
            self._park(conn, READABLE, look_again=True)
        elif conn.started:
            self._pin(conn, answered=True)
            conn.send(dated(refusals.REQUEST_TIMEOUT))
            self._linger(conn)
        else:
            self._close(conn)

    def _let_go(self, conn: Connection, events: int, look_again: bool = False) -> None:
        """In a retiring worker: give a connection that waits back, or not wait for long.

        Its last answer, if there was one, has promised that there could be another: what
        the client may be sending because of that is heard, and answered with `Closing`.
        """
        if conn.kept and not (self.final or conn.pinned):
            self._give_back(conn)
            return
        if conn.phase is Phase.BODY or conn.lacks_but_its_body:
            patience = self._silence
        elif conn.phase is Phase.LINGER:
            patience = self.patience.last_linger
        else:
            patience = self.patience.last_words
        conn.deadline = min(conn.deadline, time.monotonic() + patience)
        self._parking.park(conn, events, look_again)

    def _give_back(self, conn: Connection) -> None:
        self._to_share = max(0, self._to_share - 1)
        self.give_back(conn, self.desk.since(conn))

    def _cut(self, conn: Connection) -> None:
        if conn.abandoned:
            self._close(conn)
        elif conn.kept:
            self._release(conn)
            self._worker.tell(Cut(conn.serial))
        else:
            conn.reset()
            self._release(conn)

    def _close(self, conn: Connection) -> None:
        conn.shut()
        self._release(conn)

    def _release(self, conn: Connection) -> None:
        self._parking.forget(conn)
        if not conn.kept:
            self._row.connections -= 1
        self._unread.forget(conn)
        conn.release()

    # Waiting

    def _park(self, conn: Connection, events: int, look_again: bool = False) -> None:
        """Leave a connection to whoever takes its next event.

        ``look_again``: something may be there already that gives no new event.
        """
        if self.retiring and conn.phase in _WAITING:
            self._let_go(conn, events, look_again)
            return
        self._parking.park(conn, events, look_again)
        # Whoever retires us may have looked before we parked.
        if self.retiring and conn.phase in _LEAVING and self._parking.claim(conn):
            self._let_go(conn, conn.events)

    def _await_client(self, conn: Connection) -> None:
        """A thread has looked, and it is the client that has to go on: no clock of ours runs."""
        self.desk.forget(conn)
        self._park(conn, READABLE)

    def _pin(self, conn: Connection, answered: bool) -> None:
        if conn.secure and conn.pinned:
            return  # for good, and nobody else could answer
        conn.pinned = True
        if conn.kept:
            self._worker.tell(Pinned(conn.serial, answered))

    def _introduce(self, conn: Connection, arrived: Arrived) -> None:
        """Note what a proxy has said of the client; a worker that has it next will not hear it."""
        text = arrived.proxied
        if text and not conn.proxied:
            conn.introduce(text, proxied.client(text))
            if conn.kept:
                self._worker.tell(Proxied(conn.serial, text))

    def _unpin(self, conn: Connection) -> None:
        if conn.secure:
            return
        conn.pinned = False
        if conn.kept:
            self._worker.tell(Unpinned(conn.serial))
