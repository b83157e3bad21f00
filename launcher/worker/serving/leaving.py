"""How a thread leaves a connection: parked, given back, cut or closed.

A thread that has claimed a connection ends with one of these verbs. Afterwards the
connection belongs to the thread that takes its next event, to the primary, or to none.
"""

from __future__ import annotations

import time

from launcher.ipc.messages import Cut, Pinned, Proxied, Returned, Unpinned
from launcher.policy.serving.patience import Patience
from launcher.pool.orders import Orders
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import READABLE, Parking
from launcher.worker.connection.phase import Phase
from launcher.worker.connection.unread import Unread
from launcher.worker.exchange.closing import Closing
from launcher.worker.request import proxied
from launcher.worker.request.parsing import Arrived
from launcher.worker.serving.line import Line
from launcher.worker.serving.queue import Queue

WAITING = (Phase.REQUEST, Phase.HANDSHAKE)
"""The client has the next word."""

LEAVING = (*WAITING, Phase.BODY, Phase.LINGER)
"""What a retiring worker gives back or waits for less long."""


class Leaving:
    """The verbs, and whether this worker is about to leave itself."""

    def __init__(
        self,
        orders: Orders,
        line: Line,
        parking: Parking,
        queue: Queue,
        unread: Unread,
        patience: Patience,
    ) -> None:
        self.paused = False
        """Whether requests are left to other workers, as far as they can travel there."""
        self.retiring = False
        """Whether no more connections are taken."""
        self.final = False
        """Whether the whole cluster ends: no other worker can take a connection."""
        self.closing = Closing()
        self.to_share = 0
        """Idle connections that are yet to be returned."""
        self.patience = patience
        self._row = orders.row
        self._sticky = orders.settings.policy == "sticky"
        self._line = line
        self._parking = parking
        self._queue = queue
        self._unread = unread

    @property
    def silence(self) -> float:
        """Seconds for which a body may pause."""
        return self.patience.last_silence if self.retiring else self.patience.silence

    @property
    def may_give_back(self) -> bool:
        """Whether a request that waits may go to another worker."""
        return not (self.final or self._sticky)

    @property
    def must_give_back(self) -> bool:
        """Whether what can travel is to go to other workers, whether they have room or not."""
        return self.paused or (self.retiring and not self.final)

    # Parked

    def park(self, conn: Connection, events: int, look_again: bool = False) -> None:
        """Leave a connection to the thread that takes its next event.

        ``look_again``: something may be there already that gives no new event.
        """
        if self.retiring and conn.phase in WAITING:
            self.let_go(conn, events, look_again)
            return
        self._parking.park(conn, events, look_again)
        # `Service.retire` may have gone through the parked connections before this one was.
        if self.retiring and conn.phase in LEAVING and self._parking.claim(conn):
            self.let_go(conn, conn.events)

    def await_client(self, conn: Connection) -> None:
        """A thread has looked, and the client has to go on: the request waits for no thread."""
        self._queue.forget(conn)
        self.park(conn, READABLE)

    def let_go(self, conn: Connection, events: int, look_again: bool = False) -> None:
        """In a retiring worker: give a connection that waits back, or wait for less long.

        Its last answer, if there was one, has promised that there could be another. What
        the client sends because of that is heard, and answered as `Closing` says.
        """
        if conn.kept and not (self.final or conn.pinned):
            self.give_back(conn)
            return
        if conn.phase is Phase.BODY or conn.lacks_but_its_body:
            patience = self.silence
        elif conn.phase is Phase.LINGER:
            patience = self.patience.last_linger
        else:
            patience = self.patience.last_words
        conn.deadline = min(conn.deadline, time.monotonic() + patience)
        self._parking.park(conn, events, look_again)

    # Given back

    def give_back(self, conn: Connection) -> None:
        """Give a connection that waits to the primary, for another worker."""
        self.to_share = max(0, self.to_share - 1)
        self.give_back_request(conn, self._queue.since(conn))

    def give_back_request(self, conn: Connection, since: float) -> None:
        """As `give_back`, for one whose request has waited for a thread since then."""
        self._release(conn)
        self._line.tell(Returned(conn.serial, since))

    # Ended

    def cut(self, conn: Connection) -> None:
        """End a connection so that the client cannot take what it has for a whole response."""
        if conn.abandoned:
            self.close(conn)
        elif conn.kept:
            self._release(conn)
            self._line.tell(Cut(conn.serial))
        else:
            conn.reset()
            self._release(conn)

    def close(self, conn: Connection) -> None:
        """End a connection on which nothing is owed."""
        conn.shut()
        self._release(conn)

    def _release(self, conn: Connection) -> None:
        self._parking.forget(conn)
        if not conn.kept:
            self._row.connections -= 1
        self._unread.forget(conn)
        conn.release()

    # What the primary has to know of a connection, should this worker die

    def pin(self, conn: Connection, answered: bool) -> None:
        """No other worker can go on with it. ``answered``: nor may the primary answer."""
        if conn.secure and conn.pinned:
            return  # for good: only this process has the keys
        conn.pinned = True
        if conn.kept:
            self._line.tell(Pinned(conn.serial, answered))

    def unpin(self, conn: Connection) -> None:
        """Another worker can go on with it again."""
        if conn.secure:
            return
        conn.pinned = False
        if conn.kept:
            self._line.tell(Unpinned(conn.serial))

    def introduce(self, conn: Connection, arrived: Arrived) -> None:
        """Note what a proxy has said of the client; the worker that has it next needs to know."""
        text = arrived.proxied
        if text and not conn.client.proxied:
            conn.client.introduce(text, proxied.client(text))
            if conn.kept:
                self._line.tell(Proxied(conn.serial, text))
