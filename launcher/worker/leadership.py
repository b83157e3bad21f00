"""Which thread serves: one at a time, until it is held up.

Threads of one interpreter take turns at running Python, so a second thread
that serves short requests adds nothing but the turns: every system call
hands the interpreter over and asks for it back. Here one thread, the *leader*,
waits for events and serves them; the next in line looks now and then whether
the leader has been with one event for too long (the app waits for a database,
or computes), and then leads in its place. The old leader finishes what it
does and queues up.
"""

from __future__ import annotations

import contextlib
import threading
import time

PATIENCE = 0.002
"""Seconds with one event after which the leader counts as held up."""

_CALM = 0.0005
_CALMEST = 0.010
"""Each look that finds the leader getting on puts off the next one by _CALM, up to this:
a look costs two hand-overs of the interpreter."""

_ALERT = 50
"""Looks in a row that find nothing to do before the next in line sleeps."""


class Term:
    """One thread's time as leader. It alone writes here, even when it has lost already."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = 0.0
        """When the leader took its current event; 0 while it waits for one."""


class Leadership:
    """The right to serve, and who is next."""

    def __init__(self) -> None:
        self.term: Term | None = None
        """Of the thread that leads. Another one's term has ended."""
        self._next_in_line = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()
        self.asleep = False
        """Whether the next in line wants to be woken when the leader has something to serve."""

    def attain(self) -> Term:
        """Wait until this thread is to lead."""
        with self._next_in_line:
            if self.term:
                self._wait_until_held_up(self.term)
            self.term = Term()
            return self.term

    def wake(self) -> None:
        """The leader has an event to serve, and has said so in its term."""
        self.asleep = False
        with contextlib.suppress(RuntimeError):  # who led before has rung it just now
            self._bell.release()

    def _wait_until_held_up(self, term: Term) -> None:
        quiet = 0
        calm = 0.0
        while True:
            since = term.since
            if since:
                left = since + PATIENCE - time.monotonic()
                if left <= 0:
                    return
                quiet = 0
                self._bell.acquire(timeout=max(left, calm))
                calm = min(calm + _CALM, _CALMEST)
            elif quiet < _ALERT:
                quiet += 1
                self._bell.acquire(timeout=max(PATIENCE, calm))
            else:
                self._sleep(term)
                quiet = 0
                calm = 0.0

    def _sleep(self, term: Term) -> None:
        self.asleep = True
        # The leader may have become busy without seeing that we sleep; and a
        # bell that was rung too late only makes a later look come early.
        if not term.since:
            self._bell.acquire()
        self.asleep = False
