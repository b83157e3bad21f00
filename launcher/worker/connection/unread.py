"""Sends responses whatever their size, and keeps only so much of what clients do not read.

What a client does not take at once is kept for the event loop, which needs no
thread for it. Where that is more than ``policy/serving/unread.py`` has room for, the
thread stays and sends as the client reads: an app that streams waits with it,
and one large piece goes out as many small ones. A thread that stays also looks
after the other readers, because all threads may be staying. Where no room is left at
all, the client that has read least for longest is cut.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from launcher.ipc.notes import Notepad
from launcher.memory import give_back
from launcher.policy.serving.patience import Patience
from launcher.policy.serving.unread import MOST, Reader, grace, has_room, slowest
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.outgoing import Block
from launcher.worker.connection.phase import Broken

LARGE = Block.SIZE
"""Bytes that are sent in one go. A response that has more is not copied for that."""

_LOOK = 0.25
"""Seconds between two looks of a thread that stays with a client."""

_PAUSE = 0.01
"""Seconds until the next try, where a connection was writable and yet nothing went out (TLS)."""


_TIDYING = 5.0
"""Seconds between two returns of memory to the system."""


_TELLING = 60.0
"""Seconds between two warnings."""


class Host(Protocol):
    """What is done with connections whose clients have yet to read."""

    def claim_reader(self, conn: Connection) -> bool:
        """Take a connection that is parked until it can be written to; whether that was so."""

    def go_on(self, conn: Connection) -> None:
        """Send more on a claimed connection, and leave it."""

    def cut(self, conn: Connection) -> None:
        """End a claimed connection."""


class Unread:
    """What the clients of one worker have yet to read. For all of its threads."""

    def __init__(
        self,
        threads: int,
        patience: Patience,
        warn: Callable[..., object],
        host: Host,
    ) -> None:
        """``threads``: how many the worker has."""
        self.total = 0
        """Bytes that are kept in memory."""
        self._threads = threads
        self._patience = patience
        self._warn = warn
        self._host = host
        self._lock = threading.Lock()
        """For the table and its sum. While it is held no connection in the table is closed."""
        self._readers: dict[Connection, Reader] = {}
        self._staying = 0
        self._next_telling = 0.0
        self._untidy = False
        self._next_tidying = 0.0

    def deliver(self, conn: Connection, pad: Notepad, parts: Iterable[bytes]) -> None:
        """Send ``parts``; return when the event loop can take care of the rest, if there is any.

        Raises Broken when the client is gone, or is not worth waiting for.
        """
        for part in parts:
            self._untidy = self._untidy or len(part) > LARGE
            rest = memoryview(part)
            while rest:
                rest = rest[conn.offer(rest) :]
                if rest:
                    conn.keep(rest[: Block.SIZE])
                    rest = rest[Block.SIZE :]
                    self.stay(conn, pad)
        self.note(conn)

    def stay(self, conn: Connection, pad: Notepad) -> None:
        """Return once there is room for what is kept for ``conn``. Raises as `deliver`."""
        self._untidy = True
        self.note(conn)
        if not has_room(conn.outgoing.memory, self.total, waiting=False):
            pad.wait_for_client()
            with self._lock:
                self._staying += 1
            try:
                self._wait(conn)
            finally:
                with self._lock:
                    self._staying -= 1
                pad.progressed(time.monotonic_ns())

    def note(self, conn: Connection) -> None:
        """Take down how much is kept for ``conn``. Raises Broken when `_cut_one` has chosen it."""
        memory = conn.outgoing.memory
        if not memory and conn not in self._readers:
            return
        taken = conn.taken()
        with self._lock:
            reader = self._readers.get(conn)
            if reader is None:
                reader = self._readers[conn] = Reader(taken, time.monotonic())
            self.total += memory - reader.memory
            reader.memory = memory
            reader.look(taken, time.monotonic())
            if not memory:
                del self._readers[conn]
        if memory and reader.condemned:
            raise Broken("others need the room that its client does not make")

    def forget(self, conn: Connection) -> None:
        """A connection is about to be closed."""
        if conn in self._readers:
            with self._lock:
                reader = self._readers.pop(conn, None)
                self.total -= reader.memory if reader else 0

    def tidy(self, now: float) -> None:
        """Return the memory of large responses to the system, where malloc(3) has kept it.

        Now and then only, because the next large response pays for it (page faults).
        """
        if self._untidy and now >= self._next_tidying:
            self._untidy = False
            self._next_tidying = now + _TIDYING
            give_back()

    def _wait(self, conn: Connection) -> None:
        poll = select.poll()
        poll.register(conn.fd, select.POLLOUT)
        limit = _Limit(conn, self._patience)
        while conn.outgoing and not has_room(conn.outgoing.memory, self.total, waiting=True):
            self._flush_the_others()
            if self.total > MOST and self._cut_one(conn):
                continue
            before = conn.written
            if poll.poll(_LOOK * 1000):
                conn.flush()
                if conn.written == before:
                    time.sleep(_PAUSE)
            self.note(conn)
            limit.check()

    def _cut_one(self, conn: Connection) -> bool:
        """Cut the client that has read least for longest, if for too long; whether that makes room.

        Raises Broken when it is ``conn`` itself.
        """
        now = time.monotonic()
        with self._lock:
            for other, reader in self._readers.items():
                reader.look(other.taken(), now)
            found = slowest(self._readers, now, grace(self._staying, self._threads))
            if found is None:
                return False
            self._readers[found].condemned = True
        self._tell(now)
        self.note(conn)
        if not self._host.claim_reader(found):
            return False  # the thread that has it in hand finds it condemned; see `note`
        self._host.cut(found)
        return True

    def _tell(self, now: float) -> None:
        if now >= self._next_telling:
            self._next_telling = now + _TELLING
            what = "%d MiB wait for clients that do not read; those who read least are cut"
            self._warn(what, self.total >> 20)

    def _flush_the_others(self) -> None:
        poll = select.poll()
        with self._lock:
            others = {conn.fd: conn for conn in self._readers}
        for fd in others:
            poll.register(fd, select.POLLOUT)
        for fd, _ in poll.poll(0):
            if self._host.claim_reader(others[fd]):
                self._host.go_on(others[fd])


class _Limit:
    """How long a thread stays for one client."""

    def __init__(self, conn: Connection, patience: Patience) -> None:
        self._conn = conn
        self._patience = patience
        self._began = self._moved = time.monotonic()
        self._at_first = self._taken = conn.taken()

    def check(self) -> None:
        """Raise Broken when the client reads too slowly, or not at all."""
        now, taken, patience = time.monotonic(), self._conn.taken(), self._patience
        if taken > self._taken:
            self._taken, self._moved = taken, now
        taken_here = taken - self._at_first
        if patience.left(taken_here, now - self._began, now - self._moved) <= 0:
            raise Broken("the client has stopped reading")
