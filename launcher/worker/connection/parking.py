"""Where connections wait: for their next request, for its rest, for the client to read.

A connection belongs to whoever has taken it out of `Parking.parked`, which is
a single dict operation, so no lock is needed: a thread that finds it taken
leaves word that there is more. Edge-triggered: a connection that waits for
its next request costs no call to be armed again.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections import deque

from launcher.worker.connection.connection import Connection

READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
WRITABLE = select.EPOLLOUT | select.EPOLLET
AT_ONCE = READABLE | select.EPOLLOUT
"""There is something to do already; a socket that can be written to is reported at once."""

_NOTHING = int(select.EPOLLET)
"""The kernel adds EPOLLHUP and EPOLLERR by itself, once each (epoll_ctl(2))."""

_BATCH = 32
"""Events taken at once. Whoever leads next goes on with those that are left."""


class Parking:
    """The waiting connections, and the epoll that tells which of them can go on."""

    def __init__(self) -> None:
        self.parked: dict[int, Connection] = {}
        """By descriptor: who waits for an event. Taken out by whoever serves it."""
        self.ready: deque[tuple[int, int]] = deque()
        """Events (descriptor, what) that are taken from the epoll and not served yet."""
        self._registered: dict[int, Connection] = {}
        """By descriptor: who is known to the epoll, parked or being served."""
        self._epoll = select.epoll()
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._nudge, select.EPOLLIN | select.EPOLLET)
        self._look = select.poll()
        self._look.register(self._epoll.fileno(), select.POLLIN)

    def watch(self, fd: int, events: int) -> None:
        """Have events of something reported that is no connection."""
        self._epoll.register(fd, events)

    def ignore(self, fd: int) -> None:
        """No more of those. Fine also when there are none already."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def wait(self) -> list[tuple[int, int]]:
        """Wait until something is `ready`; what has become so."""
        events = self._epoll.poll(-1, _BATCH)
        self.ready.extend(events)
        return events

    @property
    def fd(self) -> int:
        """Readable while there are events (epoll(7), "Q3")."""
        return self._epoll.fileno()

    def has_events(self) -> bool:
        """Whether something is `ready`, or can be taken from the epoll now."""
        return bool(self.ready) or bool(self._look.poll(0))

    def take(self) -> list[tuple[int, int]]:
        """The events that there are, without waiting; the caller's to deal with."""
        return self._epoll.poll(0, _BATCH)

    def nudge(self) -> None:
        """Have whoever waits look at what is `ready`."""
        os.eventfd_write(self._nudge, 1)

    def enter(self, conn: Connection, first: bool) -> None:
        """A new connection. Its request is probably there: looked at before epoll is asked."""
        self.parked[conn.fd] = conn
        (self.ready.appendleft if first else self.ready.append)((conn.fd, 0))

    def claim(self, conn: Connection) -> bool:
        """Take a parked connection; False when somebody else has."""
        found = self.parked.pop(conn.fd, None)
        if found is not None and found is not conn:
            # It is closed, and another has its descriptor now, of which events may
            # have come to nobody meanwhile.
            self.enter(found, first=False)
            self.nudge()
        return found is conn

    def claim_missed(self, fd: int) -> Connection | None:
        """An event came for a connection that another thread is serving.

        Leave word that there is more, then look again: it may have been parked
        in between, and is the caller's then.
        """
        conn = self._registered.get(fd)
        if conn is None:
            return None
        conn.missed = True
        return conn if self.claim(conn) else None

    def park(self, conn: Connection, events: int = READABLE, look_again: bool = False) -> None:
        """Leave a connection to whoever takes its next event.

        ``look_again``: something may be there already that gives no new event.
        """
        look_again = look_again or conn.missed
        conn.missed = False
        self._arm(conn, events, look_again)
        self.parked[conn.fd] = conn
        # From here on it is anybody's; but what came a moment ago has found nobody.
        while conn.missed and self.claim(conn):
            conn.missed = False
            self._arm(conn, conn.events, look_again=True)
            self.parked[conn.fd] = conn

    def park_again(self, conn: Connection) -> bool:
        """As `park`, for the events that it was parked for last, and with nothing to look at.

        False: an event has come meanwhile, and the connection is the caller's again.
        """
        self.parked[conn.fd] = conn
        return not (conn.missed and self.claim(conn))

    def set_aside(self, conn: Connection) -> None:
        """Park a connection that a thread is going to look at in any case, so none is armed."""
        self.parked[conn.fd] = conn

    def mute(self, conn: Connection) -> None:
        """A claimed connection is read by its thread: what comes need not wake another."""
        if conn.events:
            conn.events = _NOTHING
            self._epoll.modify(conn.fd, _NOTHING)

    def forget(self, conn: Connection) -> None:
        """It is about to be closed here; which is not enough: the primary holds it open."""
        if conn.events:
            with contextlib.suppress(OSError):
                self._epoll.unregister(conn.fd)
            self._registered.pop(conn.fd, None)

    def _arm(self, conn: Connection, events: int, look_again: bool) -> None:
        known, conn.events = conn.events, events
        if not known:
            self._registered[conn.fd] = conn
            self._epoll.register(conn.fd, events)
        elif known != events or look_again:
            # Makes the kernel look and report what is there (epoll_ctl(2)).
            self._epoll.modify(conn.fd, events)
