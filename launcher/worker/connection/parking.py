"""Where connections wait: for their next request, for its rest, for the client to read.

Theory of operation
===================

**Parties.** *Serving threads*: one leads and takes events from the epoll, others still serve
what they took before (`launcher.worker.threads.leadership`). The *main thread* goes through
all that wait, to end, return or close some of them. The *kernel* reports an event once
(EPOLLET), and gives the number of a closed descriptor to the next connection.

**Invariant.** A connection belongs to the thread that took it out of `Parking.parked`, and to
no thread while it stands there. And no event is lost: after it came, the thread that takes the
event looks at the connection, or the thread that has the connection does.

There is no lock. ``dict.pop`` is one step for all threads, so of several that claim a
connection one gets it. What is left to show is that the others lose nothing. Thread A serves
a connection and parks it; thread B has taken an event for it:

    A  `park`                               B  `claim_missed`
    A1 if ``missed``: clears it             B1 finds nothing parked
    A2 arms                                 B2 sets ``missed`` to True
    A3 puts the connection into ``parked``  B3 claims: pops it from ``parked``
    A4 if ``missed``: claims, from A1 again

* B2 before A1: A finds ``missed`` set, clears it, and only then arms anew, upon which the kernel
  reports again what is there.
* B2 between A1 and A4: A finds ``missed`` set at A4 and claims. If B3 comes after A3, both
  claim; the one that gets the connection looks at it.
* B2 after A4: A3 came before, so B3 finds the connection. If it does not, thread C has claimed
  it meanwhile; C parks it in turn, and finds ``missed`` set.

Each writes first and then reads what the other writes, so one of the two sees it (as in
Dekker's algorithm). ``missed`` may stay set when nothing is missed any more; that costs a look.

* *An order to retire* is a flag like ``missed``, for all connections at once: the main thread sets
  it and then goes through ``parked``; a thread parks and then looks at the flag
  (``worker/serving/leaving.py``).
* *A number that is reused*: an event that was taken before the old connection was closed is
  served for the new one, which costs a look. The main thread may mean the old connection and
  pop the new one; see `claim`. The kernel keeps an open file in its set although the descriptor
  is closed, as long as the primary's duplicate is open; see `forget`.

All this counts on the interpreter's lock: every thread sees these steps in the order in which
they are written.

**Rejected.** *Level-triggered* events: the epoll would report a connection again and again for as
long as it is served. *EPOLLONESHOT*: a system call for each request to arm it again, and each
hands the interpreter over. *A lock for each connection, or one for all*: it would have to be held
while a connection is armed, so threads would wait for each other's system calls. *An epoll for each
thread*: connections would wait behind the request that their own thread runs.

**Measured** (``timeit``, Python 3.11, one thread): to put a connection in, look at ``missed`` and
take it out takes 0.07 us; the same under one lock, taken twice, 0.39 us; ``epoll.modify``,
which *EPOLLONESHOT* would want for each request, 0.30 us, and a turn at the interpreter where
there are other threads.
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
"""Has the kernel report the connection at once, because it can be written to."""

_NOTHING = int(select.EPOLLET)
"""The kernel adds EPOLLHUP and EPOLLERR by itself, once each (epoll_ctl(2))."""

_BATCH = 32
"""Events taken at once; those that a leader leaves are served by the next. With fewer, the call,
which lets go of the interpreter, is paid more often."""


class Parking:
    """The waiting connections, and the epoll that tells which of them can go on."""

    def __init__(self) -> None:
        self.parked: dict[int, Connection] = {}
        """By descriptor: the connections that wait for an event."""
        self.ready: deque[tuple[int, int]] = deque()
        """Events (descriptor, what) that are taken from the epoll and not served yet."""
        self._registered: dict[int, Connection] = {}
        """By descriptor: the connections that the epoll watches, parked or being served."""
        self._epoll = select.epoll()
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._nudge, select.EPOLLIN | select.EPOLLET)
        self._look = select.poll()
        self._look.register(self._epoll.fileno(), select.POLLIN)

    def watch(self, fd: int, events: int) -> None:
        """Have the epoll report events of a descriptor that is no connection's."""
        self._epoll.register(fd, events)

    def ignore(self, fd: int) -> None:
        """As `watch`, the other way round. Fine also for one that is not watched."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def wait(self) -> list[tuple[int, int]]:
        """Wait for events; those that have come, which are in `ready` too."""
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
        """End the `wait` of the thread that leads, so that it sees what is `ready`."""
        os.eventfd_write(self._nudge, 1)

    def enter(self, conn: Connection, first: bool) -> None:
        """Take a new connection. Its request is probably there: a thread looks at once."""
        self.parked[conn.fd] = conn
        (self.ready.appendleft if first else self.ready.append)((conn.fd, 0))

    def claim(self, conn: Connection) -> bool:
        """Take a parked connection; False when another thread has."""
        found = self.parked.pop(conn.fd, None)
        if found is not None and found is not conn:
            # `conn` was closed, and its descriptor's number belongs to `found` now. An event for
            # `found` may have found nothing while we had it out: put it back and have it looked at.
            self.enter(found, first=False)
            self.nudge()
        return found is conn

    def claim_missed(self, fd: int) -> Connection | None:
        """An event came for a connection that another thread is serving.

        Leave word that there is more, then look again: if the connection has been
        parked in between, the caller has it.
        """
        conn = self._registered.get(fd)
        if conn is None:
            return None
        conn.missed = True
        return conn if self.claim(conn) else None

    def park(self, conn: Connection, events: int = READABLE, look_again: bool = False) -> None:
        """Leave a connection to the thread that takes its next event.

        ``look_again``: something may be there already that gives no new event.
        """
        if conn.missed:  # read first: thread B may set it between a read and a clearing
            conn.missed = False
            look_again = True
        self._arm(conn, events, look_again)
        self.parked[conn.fd] = conn
        # Thread B may claim it from here on. An event that thread B took before this line has
        # set `missed` and found nothing parked: look again.
        while conn.missed and self.claim(conn):
            conn.missed = False
            self._arm(conn, conn.events, look_again=True)
            self.parked[conn.fd] = conn

    def park_again(self, conn: Connection) -> bool:
        """As `park`, for the same events as the last time and with nothing to look at.

        False: an event came before it was parked, and the caller has the connection again.
        """
        self.parked[conn.fd] = conn
        return not (conn.missed and self.claim(conn))

    def set_aside(self, conn: Connection) -> None:
        """Park a connection that a thread is going to look at in any case: it need not be armed."""
        self.parked[conn.fd] = conn

    def mute(self, conn: Connection) -> None:
        """Its thread reads a claimed connection from now on: no event is to wake another thread."""
        if conn.events:
            conn.events = _NOTHING
            self._epoll.modify(conn.fd, _NOTHING)

    def forget(self, conn: Connection) -> None:
        """A connection is about to be closed in this process.

        Unregistered before close(2): the primary's duplicate keeps the file open, so closing
        ours alone would leave it in the epoll's set (epoll(7), Q6).
        """
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
            # The kernel looks anew and reports what is there (epoll_ctl(2)).
            self._epoll.modify(conn.fd, events)
