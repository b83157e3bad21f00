"""From the first byte of a connection to a complete request.

A small request stays in the kernel until it is answered, so another worker can run it. One
whose body is too large for that is taken out, into `Incoming` or by the app as it comes; from
then on the connection is pinned to this worker.
"""

from __future__ import annotations

import select
import ssl
import time

from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException

from launcher.ipc.notes import Notepad
from launcher.policy.rescue import CONTINUE
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.phase import Phase
from launcher.worker.connection.secure import SecureConnection
from launcher.worker.request import proxied
from launcher.worker.request.body import Incoming
from launcher.worker.request.body_errors import BodyError
from launcher.worker.request.parsing import IN_KERNEL, Arrived, NeedMore, may_be_complete
from launcher.worker.request.uploads import EARLY, Uploads
from launcher.worker.serving.ending import Ending
from launcher.worker.serving.leaving import Leaving
from launcher.worker.serving.running import Running

FIRST_LOOK = 4 * 1024
"""Bytes of a first look; nearly all requests are shorter."""

_RDHUP = int(select.EPOLLRDHUP)


class Reading:
    """Takes a claimed connection on until its request can be run."""

    def __init__(
        self,
        cfg: Config,
        tls: ssl.SSLContext | None,
        uploads: Uploads,
        running: Running,
        ending: Ending,
        leaving: Leaving,
    ) -> None:
        self._cfg = cfg
        self._tls = tls
        self._uploads = uploads
        self._exchange = running.exchange
        self._hot = running.hot
        self._running = running
        self._ending = ending
        self._leaving = leaving
        self._patience = leaving.patience

    # The beginning of a connection

    def on_handshake(self, conn: Connection, events: int, pad: Notepad) -> None:
        """The first byte of TLS: from here on the connection is this process's."""
        first = conn.peek(1)
        if first is None:
            self._leaving.await_client(conn)
        elif not first:
            self._leaving.close(conn)
        else:
            assert isinstance(conn, SecureConnection)
            assert self._tls
            self._leaving.pin(conn, answered=True)
            conn.deadline = time.monotonic() + self._patience.head
            conn.phase = Phase.REQUEST
            conn.begin(self._tls)
            self.on_request(conn, events, pad)

    # A head

    def on_request(self, conn: Connection, events: int, pad: Notepad) -> None:
        """A part of a request may be there, or the end of input."""
        if self._leaving.paused and conn.travels:
            self._leaving.give_back(conn)
            return
        ahead = conn.seen_ahead()
        data = ahead or conn.peek(FIRST_LOOK)
        if data and self._hot and len(data) < FIRST_LOOK:
            head = self._hot.head_of(data, conn.listener)
            if head is not None:
                self._running.serve_plain(conn, data, head, pad, events & _RDHUP != 0)
                return
        if ahead:
            data = conn.peek(FIRST_LOOK)  # more may have come since
        if data is None:
            self._leaving.await_client(conn)
        elif not data:
            self._leaving.close(conn)
        else:
            self._look_closely(conn, data, events & _RDHUP != 0, pad)

    def _look_closely(self, conn: Connection, data: bytes, ended: bool, pad: Notepad) -> None:
        if len(data) == FIRST_LOOK:
            data = conn.peek(IN_KERNEL) or data
        if not conn.started:
            conn.started = time.monotonic()
            conn.deadline = conn.started + self._patience.head
        # The event may have been meant for the connection that had this descriptor before.
        ended = ended and conn.has_ended()
        if not ended and not may_be_complete(data, conn.looked_at):
            self._wait_for_more(conn, data)
            return
        number = 1 if conn.consumed == 0 else conn.requests + 2
        try:
            client = conn.client
            arrived = proxied.parse(data, ended, self._cfg, client.peer, number, client.proxied)
        except NeedMore:
            self._wait_for_more(conn, data)
        except (NoMoreData, StopIteration):
            self._ending.linger(
                conn
            )  # the client may still be reading the responses to earlier requests
        except ParseException as error:
            self._refuse(conn, error)
        else:
            self._on_head(conn, arrived, len(data), ended, pad)

    def _wait_for_more(self, conn: Connection, data: bytes) -> None:
        conn.looked_at = len(data)
        conn.wake_at(len(data) + 1)
        self._leaving.await_client(conn)

    def _on_head(
        self, conn: Connection, arrived: Arrived, size: int, ended: bool, pad: Notepad
    ) -> None:
        try:
            self._uploads.check(arrived.length)
        except BodyError as error:
            self._refuse(conn, error, arrived)
            return
        if arrived.fits_the_kernel() and size >= arrived.size:
            self._running.serve(conn, arrived, pad, more=size > arrived.size)
        elif self._app_comes_first(arrived) and self._uploads.enter():
            self._take_out(conn, arrived)
            self._running.stream(conn, pad)
        elif not arrived.fits_the_kernel():
            self._pull_in(conn, arrived, pad)
        elif ended:
            self._ending.linger(conn)
        elif conn.lowat >= arrived.size:  # woken early: the receive buffer is full before that
            self._pull_in(conn, arrived, pad)
        else:
            self._await_small_body(conn, arrived, size)

    def _refuse(self, conn: Connection, error: Exception, arrived: Arrived | None = None) -> None:
        # Pinned first: if we die behind the error page, the primary must not send another.
        self._leaving.pin(conn, answered=True)
        if arrived:
            self._leaving.introduce(conn, arrived)
        self._exchange.refuse(conn, arrived and arrived.request, error)
        self._ending.linger(conn)

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
            conn.latest = now + self._patience.allowed(arrived.length)
        conn.deadline = min(conn.latest, now + self._leaving.silence)
        conn.mark = size
        conn.wake_at(arrived.size)
        self._leaving.await_client(conn)

    # A body that is too large to stay there

    def _take_out(self, conn: Connection, arrived: Arrived) -> Incoming:
        # Pinned first: once a part is out, no other worker can run the request.
        self._leaving.pin(conn, answered=False)
        self._leaving.introduce(conn, arrived)
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
        self.on_body(conn, pad)

    def on_body(self, conn: Connection, pad: Notepad) -> None:
        """More may be there of a body that is taken out of the kernel."""
        incoming = conn.incoming
        assert incoming
        try:
            while not incoming.whole:
                if incoming.presses and self._uploads.enter():
                    self._running.stream(conn, pad)
                    return
                data = conn.peek(incoming.appetite)
                if data is None:
                    self._await_body(conn)
                    return
                if not data:
                    self._leaving.close(conn)
                    return
                conn.drop(incoming.take(data))
            arrived = incoming.finish()
        except (ParseException, BodyError) as error:
            self._refuse(conn, error, incoming.arrived)
            return
        self._running.serve(conn, arrived, pad, more=conn.peek(1) is not None)

    def _await_body(self, conn: Connection) -> None:
        now = time.monotonic()
        latest = conn.started + self._patience.allowed(conn.consumed - conn.mark)
        conn.deadline = min(latest, now + self._leaving.silence)
        self._leaving.await_client(conn)
