"""What follows a response: the next request, a client that has yet to read, or the end.

And how each wait of a connection ends when its time is up.
"""

from __future__ import annotations

import time
from typing import Any

from launcher import refusals
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import AT_ONCE, READABLE, WRITABLE, Parking
from launcher.worker.connection.phase import Broken, Phase
from launcher.worker.connection.unread import Unread
from launcher.worker.exchange.error_pages import dated
from launcher.worker.request.parsing import IN_KERNEL
from launcher.worker.serving.leaving import Leaving

_PULL = 256 * 1024
_PULLS = 16
"""So much at once, and so often, is read to be dropped; then the next connection has its turn."""


class Ending:
    """Goes on with a connection for which no request is to be run."""

    def __init__(
        self, leaving: Leaving, parking: Parking, unread: Unread, keepalive: float, log: Any
    ) -> None:
        """``keepalive``: seconds that a client has for its next request."""
        self._leaving = leaving
        self._parking = parking
        self._unread = unread
        self._patience = leaving.patience
        self._keepalive = keepalive
        self._log = log

    # A response is out

    def served_plain(
        self, conn: Connection, again: bool, ended: bool, more: bool, now: int
    ) -> None:
        """As `served`, for a plain request. ``ended``: the client has said that it sends no more.

        ``now``: monotonic nanoseconds.
        """
        leaving = self._leaving
        changed = ended or conn.unsent_parts or conn.lowat > 1 or conn.started
        if again and not changed and conn.events == READABLE and not leaving.to_share:
            # As `_await_next` where nothing has changed since the last request.
            conn.deadline = now * 1e-9 + self._keepalive
            parking = self._parking
            # An event, or an order to retire, may have come before it was parked.
            if parking.park_again(conn) and not (leaving.retiring and parking.claim(conn)):
                return
        self.served(conn, again, more, look_again=ended)

    def served(self, conn: Connection, again: bool, more: bool, look_again: bool = True) -> None:
        """Go on behind a response. ``again``: the connection can have another request.

        ``more``: the client may be sending one all the same. ``look_again`` as in `Leaving.park`.
        """
        conn.forget_request()
        if conn.unsent_parts:
            self._await_reading(conn, closing=not again)
        elif again:
            self._await_next(conn, look_again)
        elif more:
            self.linger(conn)
        else:
            self._leaving.close(conn)

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
        if self._leaving.to_share and conn.travels:
            self._leaving.give_back(conn)
        else:
            self._leaving.park(conn, AT_ONCE if conn.ahead() else READABLE, look_again)

    # The client has yet to read

    def _await_reading(self, conn: Connection, closing: bool) -> None:
        conn.closing = closing
        conn.phase = Phase.FLUSH
        conn.started = time.monotonic()
        conn.mark = conn.taken()
        conn.deadline = conn.started + self._patience.allowed(0)
        self._unread.note(conn)
        if closing:
            conn.wake_at(1)
        self._leaving.park(conn, AT_ONCE if closing else WRITABLE)

    def _on_writable(self, conn: Connection) -> None:
        # A client may read nothing before it has sent all of a body that is not wanted.
        more = conn.closing and bool(_drop_what_has_come(conn))
        flushed = conn.flush()
        self._unread.note(conn)
        if not flushed:
            conn.deadline = self._reading_deadline(conn)
            self._leaving.park(conn, AT_ONCE if conn.closing else WRITABLE, look_again=more)
        elif conn.closing:
            self.linger(conn)
        else:
            self._leaving.unpin(conn)
            self._await_next(conn)

    def _reading_deadline(self, conn: Connection) -> float:
        return conn.started + self._patience.allowed(conn.taken() - conn.mark)

    def claim_reader(self, conn: Connection) -> bool:
        """Take a parked connection whose client has yet to read; whether there was one."""
        if not self._parking.claim(conn):
            return False
        if conn.phase is Phase.FLUSH:
            return True
        # Its client has read all meanwhile, and the connection waits for the next request.
        self._leaving.park(conn, conn.events or READABLE, look_again=True)
        return False

    def go_on(self, conn: Connection) -> None:
        """Go on with a claimed connection that flushes or lingers."""
        try:
            if conn.phase is Phase.FLUSH:
                self._on_writable(conn)
            else:
                self._on_lingering(conn)
        except Broken:
            self._leaving.cut(conn)
        except Exception:  # a defect costs the connection, not the thread
            self._log.exception("Error ending a connection")
            self._leaving.cut(conn)

    # The end

    def linger(self, conn: Connection) -> None:
        """Close without destroying what the client has not read yet (RFC 9112 section 9.6)."""
        if conn.unsent_parts:
            self._await_reading(conn, closing=True)
            return
        if not conn.pinned:  # what still comes is no request, for no other worker either
            self._leaving.pin(conn, answered=True)
        conn.stop_sending()
        conn.phase = Phase.LINGER
        conn.started = time.monotonic()
        conn.wake_at(1)
        self._on_lingering(conn)

    def _on_lingering(self, conn: Connection) -> None:
        data = _drop_what_has_come(conn)
        if data == b"":
            self._leaving.close(conn)
            return
        patience = self._patience
        latest = conn.started + patience.linger_at_most
        linger = patience.last_linger if self._leaving.retiring else patience.linger
        conn.deadline = min(latest, time.monotonic() + linger)
        self._leaving.park(conn, READABLE, look_again=bool(data))

    # A wait is over

    def end_wait(self, conn: Connection, now: float) -> None:
        """The deadline of a claimed connection has passed (``now``: monotonic seconds).

        Raises Broken when the client is gone.
        """
        if conn.phase is Phase.FLUSH:
            # The client may read, and too little room come free in the kernel for an event
            # (epoll(7)).
            conn.deadline = self._reading_deadline(conn)
            if conn.deadline > now:
                self._leaving.park(conn, WRITABLE)
            else:
                self._leaving.cut(conn)
        elif conn.phase is Phase.LINGER:
            self._leaving.close(conn)
        elif conn.is_due():  # the rest has come in time, but no thread was free
            conn.deadline = now + self._patience.head
            self._leaving.park(conn, READABLE, look_again=True)
        elif self._still_comes(conn, now):
            self._leaving.park(conn, READABLE, look_again=True)
        elif conn.started:
            self._leaving.pin(conn, answered=True)
            conn.send(dated(refusals.REQUEST_TIMEOUT))
            self.linger(conn)
        else:
            self._leaving.close(conn)

    def _still_comes(self, conn: Connection, now: float) -> bool:
        """Whether a body in the kernel has grown, and may; no event tells before it is whole."""
        size = len(conn.peek(IN_KERNEL) or b"") if now < conn.latest else 0
        grown = size > conn.mark
        if grown:
            conn.mark = size
            conn.deadline = min(conn.latest, now + self._leaving.silence)
        return grown

    def refuse_late(self, conn: Connection) -> None:
        """The request on a claimed connection has waited for a thread for too long."""
        try:
            if conn.phase is not Phase.BODY and conn.peek(1) is None:
                self._leaving.await_client(conn)
                return
            if conn.phase is Phase.HANDSHAKE:  # there is no way to say it yet
                self._leaving.close(conn)
                return
            self._leaving.pin(conn, answered=True)
            conn.send(dated(refusals.UNAVAILABLE))
            self.linger(conn)
        except Broken:
            self._leaving.cut(conn)


def _drop_what_has_come(conn: Connection) -> bytes | None:
    """Read and drop it; the last of it, or as `Connection.pull` when that was all."""
    data: bytes | None = None
    for _ in range(_PULLS):
        data = conn.pull(_PULL)
        if not data:
            break
    return data
