"""Which thread leads: one at a time, until it is held up or expects to be.

Threads of one interpreter take turns at running Python, so a second thread that
serves short requests adds nothing but the turns: every system call hands the
interpreter over and asks for it back. So one thread, the *leader*, waits for events
and serves them in batches. It stops leading in two ways:

* it is about to run a request that is expected to wait (`launcher.policy.serving.waiting`):
  then it gives up the lead before, to the thread that has rested for the shortest time
  (its stack is warm), and nobody is held up;
* it is held up all the same: the watcher (`launcher.worker.threads.watcher`) takes the
  lead from it.

Either way the old leader finishes what it does. Afterwards it serves what is ready, as
long as the new leader has not come to that (it may be waiting for the interpreter), and
only then rests: under load that saves waking a thread for each request.

The lead is a `Term`. The thread whose term is the current one leads; one with another
term has lost the lead, whatever it was told before. Whose term it is changes in one step,
under a lock: the leader that gives up the lead and the watcher that takes it both say
which term they mean, so the second of them finds another one and does nothing; and a
thread that rests is either seen by the leader that looks for one to call, or sees the
vacant lead that this one has left. So there never is a vacant lead while a thread rests.

Rejected: one next in line that looks at the leader every 2 ms (a worker then ran 500
waiting requests a second at most), and several threads in one epoll_wait(2) (they wake
each other up for requests that do not wait).
"""

from __future__ import annotations

import contextlib
import threading
import time

from launcher.worker.serving.seat import Seat, Term


class Leadership:
    """The right to serve, those who rest until they are called, and the watcher's bell."""

    def __init__(self) -> None:
        self.term: Term | None = None
        """Of the thread that leads; None: the lead is vacant."""
        self.resting: list[Seat] = []
        """A stack: the last to rest is called first."""
        self.short = False
        """Whether the last resting thread was called: the watcher is to see to that."""
        self.asleep = False
        """Whether the watcher wants to be woken when the leader has something to serve."""
        self._changing = threading.Lock()
        """For the two above."""
        self._bell = threading.Lock()
        self._bell.acquire()

    def attain(self, seat: Seat) -> Term | None:
        """Rest until the thread of this seat is called; its term, None: it is to leave."""
        seat.resting_since = time.monotonic()
        with self._changing:
            if self.term is None:
                term = seat.term = self.term = Term(seat)
                return term
            self.resting.append(seat)
        seat.bell.acquire()
        return seat.term

    def leads(self, seat: Seat) -> bool:
        """Whether the thread of this seat leads."""
        return self.term is seat.term is not None

    def give_up(self, term: Term | None) -> bool:
        """This term ends: another thread leads from here on, or none; False: it has ended before.

        For the leader that is about to wait, and for the watcher.
        """
        with self._changing:
            if self.term is not term:
                return False
            if self.resting:
                seat = self.resting.pop()
                seat.term = self.term = Term(seat)
                seat.bell.release()
            else:
                self.term = None
        if not (self.resting or self.short):
            self.short = True
            self.wake()
        return True

    def dismiss(self, idle_since: float) -> Seat | None:
        """Have the thread leave that has rested for the longest time, if since before then."""
        with self._changing:
            if not self.resting or self.resting[0].resting_since >= idle_since:
                return None
            seat = self.resting.pop(0)
        seat.term = None
        seat.bell.release()
        return seat

    def wake(self) -> None:
        """Have the watcher look. Rings twice at most, so nothing is lost when it is late."""
        self.asleep = False
        with contextlib.suppress(RuntimeError):  # another thread has rung just now
            self._bell.release()

    def wait_for_bell(self, timeout: float) -> None:
        """For the watcher: until it is woken, or for so many seconds; negative: for ever."""
        self._bell.acquire(timeout=timeout)
