"""What every worker is doing right now, in memory that the primary can read.

A row per worker, a *note* per thread of it. Every field has one writer and
writing costs nanoseconds; the primary reads a row while it deals and, once
the worker is dead, to find out what was running.

Layout of a row in 64-bit words: the head, one busy byte per thread, the notes,
then how long requests took: a count per thread and bucket (`BOUNDS`), and a sum per
thread. There is room for as many threads as a worker may have; only those that ever lived
are looked at.
"""

from __future__ import annotations

import mmap
import os

from launcher.ipc.notes import (
    BEGAN,
    BUCKETS,
    IDLE,
    LENGTH_UNKNOWN,
    NOTE,
    RESPONSE,
    STATE,
    WORD,
    Activity,
    Note,
    Notepad,
    activity,
    noted,
)

ROWS = 1024
"""Rows there are: 512 workers, and as many again during a reload. Untouched rows cost no memory."""

# The head.
(
    _TAKEN,
    _HEARTBEAT,
    _CONNECTIONS,
    _THREADS,
    _LIVED,
    _CAPACITY,
    _STREAMING,
    _STREAM_CAPACITY,
    _WAITING,
) = range(9)
_HEAD = 16  # words: two cache lines

_FEW = 4

_LATELY = 1_500_000_000
"""Nanoseconds; a worker gives one every half second."""

_TAIL = 8
"""Words behind the rows: the last has how many rows were ever handed out, from the first on."""


def memory_size(threads: int) -> int:
    """Bytes that a scoreboard for workers of ``threads`` threads takes."""
    return (ROWS * _row_words(threads) + _TAIL) * WORD


def create(threads: int) -> int:
    """A descriptor of fresh memory for a scoreboard (memfd_create(2)).

    ``threads``: the most that a worker may have.
    """
    fd = os.memfd_create("scoreboard", os.MFD_CLOEXEC)
    os.ftruncate(fd, memory_size(threads))
    return fd


def _busy_words(threads: int) -> int:
    return -(-threads // 64) * 8  # whole cache lines


def _row_words(threads: int) -> int:
    return _HEAD + _busy_words(threads) + threads * (NOTE + BUCKETS + 1)


class Scoreboard:
    """The whole memory; hands out rows."""

    def __init__(self, fd: int, threads: int) -> None:
        self.threads = threads
        self._map = mmap.mmap(fd, memory_size(threads))
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")

    def row(self, index: int) -> Row:
        """The row of one worker."""
        if index >= self._words[-1]:
            self._words[-1] = index + 1
        return Row(self._words, self._bytes, index * _row_words(self.threads), self.threads)

    def room(self, apart: Row, now: int, streams: bool = False) -> int:
        """How many more requests the other workers can begin (``now``: monotonic nanoseconds).

        The dead have no room, nor do those that give no sign of life: they are stopped, or a
        call holds their interpreter. ``streams``: how many more of those that may be streams.
        """
        field = _STREAM_CAPACITY if streams else _CAPACITY
        size = _row_words(self.threads)
        # One look at the same word of every row that was ever handed out; 1,024 of them take
        # 10 us. To look at the others would have the kernel make memory for them.
        capacities = self._words[field : self._words[-1] * size : size].tolist()
        others = (
            (self.row(index), capacity)
            for index, capacity in enumerate(capacities)
            if capacity and index * size != apart.start
        )
        return sum(max(0, capacity - row.busy()) for row, capacity in others if row.is_alive(now))


class Row:
    """The row of one worker: the worker writes, the primary reads."""

    __slots__ = ("_busy_bytes", "_notes", "_raw", "_times", "_took", "_words", "start", "threads")

    def __init__(self, words: memoryview, raw: memoryview, start: int, threads: int) -> None:
        self.threads = threads
        """The most that the worker may have."""
        self.start = start
        self._words = words
        self._raw = raw
        busy = (start + _HEAD) * WORD
        self._busy_bytes = raw[busy : busy + threads]
        self._notes = start + _HEAD + _busy_words(threads)
        self._times = self._notes + threads * NOTE
        self._took = self._times + threads * BUCKETS

    def clear(self) -> None:
        """Make the row new for another worker (the primary does, before the worker starts)."""
        lived, words = self.lived, self._words
        for first, size in (
            (self._notes, lived * NOTE),
            (self._times, lived * BUCKETS),
            (self._took, lived),
            (self.start, _HEAD + _busy_words(self.threads)),
        ):
            words[first : first + size] = memoryview(bytes(size * WORD)).cast("Q")

    @property
    def taken(self) -> int:
        """Connections the worker has received over its channel."""
        return self._words[self.start + _TAKEN]

    @taken.setter
    def taken(self, value: int) -> None:
        self._words[self.start + _TAKEN] = value

    @property
    def heartbeat(self) -> int:
        """When the worker last said it is alive; monotonic nanoseconds."""
        return self._words[self.start + _HEARTBEAT]

    @heartbeat.setter
    def heartbeat(self, value: int) -> None:
        self._words[self.start + _HEARTBEAT] = value

    @property
    def connections(self) -> int:
        """Connections the worker accepted itself (policy ``kernel``) and still has."""
        return self._words[self.start + _CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._words[self.start + _CONNECTIONS] = value

    @property
    def living(self) -> int:
        """Serving threads there are."""
        return self._words[self.start + _THREADS]

    @living.setter
    def living(self, value: int) -> None:
        self._words[self.start + _THREADS] = value

    @property
    def lived(self) -> int:
        """Threads that there ever were: the notes of the others have never been written."""
        return self._words[self.start + _LIVED]

    @lived.setter
    def lived(self, value: int) -> None:
        self._words[self.start + _LIVED] = value

    @property
    def capacity(self) -> int:
        """Requests it can run at once as things are; 0: it takes none (not yet, or no more)."""
        return self._words[self.start + _CAPACITY]

    @capacity.setter
    def capacity(self, value: int) -> None:
        self._words[self.start + _CAPACITY] = value

    @property
    def streaming(self) -> int:
        """Of the requests that run, those that are streams."""
        return self._words[self.start + _STREAMING]

    @streaming.setter
    def streaming(self, value: int) -> None:
        self._words[self.start + _STREAMING] = value

    @property
    def stream_capacity(self) -> int:
        """As `capacity`, for requests that may be streams."""
        return self._words[self.start + _STREAM_CAPACITY]

    @stream_capacity.setter
    def stream_capacity(self, value: int) -> None:
        self._words[self.start + _STREAM_CAPACITY] = value

    @property
    def waiting(self) -> int:
        """Requests that have come and wait for a thread."""
        return self._words[self.start + _WAITING]

    @waiting.setter
    def waiting(self, value: int) -> None:
        self._words[self.start + _WAITING] = value

    def is_alive(self, now: int) -> bool:
        """Whether the worker has given a sign of life lately (``now``: monotonic nanoseconds)."""
        return now - self.heartbeat < _LATELY

    def busy(self) -> int:
        """How many threads run a request."""
        return self._busy_bytes.tobytes().count(1)

    def unanswered(self) -> int:
        """How many threads run a request that has not been answered yet.

        A thread whose response is out will be free at once. Not looked at where many
        are busy: it would take time and change little.
        """
        busy = self._busy_bytes.tobytes()
        count = busy.count(1)
        if not 0 < count <= _FEW:
            return count
        responses = self._notes + RESPONSE
        lengths = (
            self._words[responses + thread * NOTE] & LENGTH_UNKNOWN
            for thread, works in enumerate(busy)
            if works
        )
        return sum(length in (0, LENGTH_UNKNOWN) for length in lengths)

    def all_busy_since(self) -> int:
        """When the last thread began what it runs (monotonic nanoseconds); 0: one is free."""
        if self.busy() < self.living:
            return 0
        words, since = self._words, 0
        for note in self._firsts():
            if words[note + STATE] != IDLE:
                since = max(since, words[note + BEGAN])
        return since

    def requests(self) -> int:
        """How many requests the worker has finished."""
        return sum(self._words[self._times : self._times + self.lived * BUCKETS])

    def running(self) -> list[Note]:
        """What the threads are running."""
        return [note for first in self._firsts() if (note := noted(self._words, first))]

    def active(self) -> list[Activity]:
        """What the threads are running, for people to look at."""
        return [
            found for first in self._firsts() if (found := activity(self._words, self._raw, first))
        ]

    def times(self) -> list[int]:
        """How many requests took how long: a count per bucket (`BOUNDS`)."""
        counts = self._words[self._times : self._times + self.lived * BUCKETS].tolist()
        return [sum(counts[bucket::BUCKETS]) for bucket in range(BUCKETS)]

    def took(self) -> int:
        """How long all finished requests took together; nanoseconds."""
        return sum(self._words[self._took : self._took + self.lived])

    def _firsts(self) -> range:
        """Where the notes of the threads begin that ever lived."""
        return range(self._notes, self._notes + self.lived * NOTE, NOTE)

    def pad(self, thread: int) -> Notepad:
        """Where one thread of the worker writes; it counts as having lived from now on."""
        self.lived = max(self.lived, thread + 1)
        first = self._notes + thread * NOTE
        times = self._times + thread * BUCKETS
        took = self._took + thread
        return Notepad(self._words, self._raw, first, times, took, self._busy_bytes, thread)
