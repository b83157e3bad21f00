"""Which thread leads: one at a time, until it is held up or expects to be.

Theory of operation
===================

Threads of one interpreter take turns at running Python, so a second thread that serves short
requests adds nothing but the turns: every system call hands the interpreter over and asks for
it back. So one thread, the *leader*, waits for events and serves them in batches. A request
that waits (for a database, another service) would hold up all that come behind it. So the
leader gives up the lead before such a request, if it expects that; and if it did not, the lead
is taken from it.

**Parties.** The *leader*. *Resting threads*, each blocked on the bell of its seat. *Threads that
have lost the lead* and finish what they run. The *watcher* (`launcher.worker.threads.watcher`),
which serves nothing and looks at the leader. The *forecast*
(`launcher.policy.serving.waiting`), which says which requests wait, and learns it from every
thread behind its request. The *main thread*, which takes the events where no thread is left to
lead (`launcher.worker.threads.desk`).

**Invariants.** (1) At most one thread leads. (2) The lead is never vacant while a thread rests.
(3) A leader that is held up is looked at, without a cost to one that is not.

(1) The lead is a `Term`. The thread whose term is the current one leads; one with another term
has lost the lead, whatever it was told before. A term ends in one step, under a lock
(`Leadership.give_up`). The leader that expects to wait and the watcher that finds it held up
both say which term they mean: the second of them finds another term and does nothing.

(2) Two steps change which threads rest, under the same lock. A thread that finds the lead
vacant takes it, and rests only if it is not (`Leadership.attain`). A term that ends goes to a
resting thread, and the lead is vacant only if there is none. So thread A, which gives up the
lead, and thread B, which comes to rest, cannot miss each other: the one that gets the lock later
sees what the other has done.

(3) The watcher sleeps while there is nothing to watch. Before, it sets ``asleep`` and then
looks whether the leader has begun with an event; the leader notes that it has begun and then
looks at ``asleep``. One of them sees the other. It is the same with ``short``, which says
that no thread rests any more: the watcher clears it and then looks at ``resting``; a thread that
calls the last one takes that out of ``resting`` and then looks at ``short``.

**The old leader** finishes its request beside the new one. Then it serves what is ready, until
the new leader has come to that (it may be waiting for the interpreter), and only then rests:
under load that saves waking a thread for each request. The thread that has rested for the
shortest time is called first, because its stack is warm; the one that has rested longest is the
one to leave.

**A wrong forecast** costs little either way. A request that waits in the lead is found by the
watcher after 0.5 ms. One that was handed over for nothing has cost a hand-over, about 0.1 ms of
CPU; so its like is tried in the lead again now and then.

**Rejected.** *One next in line that looks at the leader every 2 ms*: a worker then serves 500
waiting requests a second at most, however many threads it has. *Several threads in one
epoll_wait(2)*: they wake each other up for requests that do not wait. *A thread that
distributes to others*: a hand-over for each request. *Handing over what took long the last time*: a
request of 0.5 ms that computes for 0.3 and waits for 0.1 is best run in the lead.

**Measured.** Two workers, 64 connections, every request sleeps 3 ms: 917 requests a second with
the next in line of old, 8,317 with a lead that is given up before the request. With a database
that answers at once (0.1 ms of waiting) it is the other way round: 4,779 in the lead, 2,935
handed over. The two meet where a request waits for 0.2 to 0.3 ms. Again: ``python -m benchmarks
--scenario waits,mixed,database,threshold``; ``docs/benchmarks`` has the last results.
"""

from __future__ import annotations

import contextlib
import threading
import time

from launcher.worker.serving.seat import Seat, Term


class Leadership:
    """The right to serve, the threads that rest until they are called, and the watcher's bell."""

    def __init__(self) -> None:
        self.term: Term | None = None
        """The term of the thread that leads; None: the lead is vacant."""
        self.resting: list[Seat] = []
        """A stack: the thread that came to rest last is called first."""
        self.short = False
        """Whether no thread rests any more: the watcher is to see to that."""
        self.asleep = False
        """Whether the watcher wants to be woken when the leader has something to serve."""
        self._changing = threading.Lock()
        """For ``term`` and ``resting``."""
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
        """End this term, so that another thread leads, or none; False: the term ended before.

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
        """Have the watcher look. A ring that comes before the watcher waits is not lost."""
        self.asleep = False
        with contextlib.suppress(RuntimeError):  # another thread has rung just now
            self._bell.release()

    def wait_for_bell(self, timeout: float) -> None:
        """For the watcher: until it is woken, or for so many seconds; negative: for ever."""
        self._bell.acquire(timeout=timeout)
