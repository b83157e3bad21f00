"""What every worker is doing right now, in memory that the primary can read.

A row per worker, a *note* per thread of it. Every field has one writer and
writing costs nanoseconds; the primary reads a row while it deals and, once
the worker is dead, to find out what was running. The scoreboard holds only
what survives a ``kill -9`` in the middle of a write: a note counts from the
moment its ``state`` is set, which is written last and cleared first.

Layout of a row in 64-bit words: the head, one busy byte per thread, the notes,
then how long requests took: a count per thread and bucket (`BOUNDS`). There is room
for as many threads as a worker may have; only those that ever lived are looked at.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect
from typing import NamedTuple

ROWS = 1024
"""Rows there are: 512 workers, and as many again during a reload. Untouched rows cost no memory."""

_WORD = 8
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
# A note.
_STATE, _SERIAL, _STARTED, _WRITTEN, _CONSUMED, _REQUEST, _RESPONSE, _BEGAN, _LINE = range(9)
_THREAD = 15
_NOTE = 16  # words: two cache lines

_NOT_COUNTED = (1 << 63) - 1
"""Instead of when a request began: nobody waits for its app."""

LINE = (_THREAD - _LINE) * _WORD
"""Bytes of a request's first line that are noted."""

_pack = struct.Struct(f"=7Q{LINE}s").pack_into
"""Writes a note's fields from `_SERIAL` to `_LINE`; `_STATE` stays for last."""

LENGTH_UNKNOWN = (1 << 62) - 1
"""Response length in a note: sending has begun, the end is not known."""

CLOSES = 1 << 62
"""Flag beside the response length in a note: the connection ends with this response."""

BOUNDS = [int(10_000 * (4 / 3) ** power) for power in range(63)]
"""Nanoseconds at which the next bucket of the times begins: 10 us to 9 min."""

BUCKETS = len(BOUNDS) + 1

_FEW = 4

_LATELY = 1_500_000_000
"""Nanoseconds; a worker gives one every half second."""

IDLE, RUNNING, RUNNING_SAFE = range(3)
"""States of a note. *Safe*: the request may be run again (RFC 9110 section 9.2)."""


class Note(NamedTuple):
    """One request as its thread wrote it down.

    ``written`` and ``consumed``: bytes sent and read on the connection before
    it. ``request_length`` and ``response_length`` are bytes, 0 while unknown.
    ``started`` is monotonic nanoseconds. ``thread`` is the kernel's id of the thread.
    """

    serial: int
    safe: bool
    started: int
    written: int
    consumed: int
    request_length: int
    response_length: int
    thread: int


class Activity(NamedTuple):
    """One request that is running: since when (monotonic nanoseconds), and how it began."""

    began: int
    line: bytes
    """The first bytes of the request."""


_TAIL = 8
"""Words behind the rows: the last has how many rows were ever handed out, from the first on."""


def memory_size(threads: int) -> int:
    """Bytes that a scoreboard for workers of ``threads`` threads takes."""
    return (ROWS * _row_words(threads) + _TAIL) * _WORD


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
    return _HEAD + _busy_words(threads) + threads * (_NOTE + BUCKETS)


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

    __slots__ = ("_busy_bytes", "_notes", "_raw", "_times", "_words", "start", "threads")

    def __init__(self, words: memoryview, raw: memoryview, start: int, threads: int) -> None:
        self.threads = threads
        """The most that the worker may have."""
        self.start = start
        self._words = words
        self._raw = raw
        busy = (start + _HEAD) * _WORD
        self._busy_bytes = raw[busy : busy + threads]
        self._notes = start + _HEAD + _busy_words(threads)
        self._times = self._notes + threads * _NOTE

    def clear(self) -> None:
        """Make the row new for another worker (the primary does, before the worker starts)."""
        lived, words = self.lived, self._words
        for first, size in (
            (self._notes, lived * _NOTE),
            (self._times, lived * BUCKETS),
            (self.start, _HEAD + _busy_words(self.threads)),
        ):
            words[first : first + size] = memoryview(bytes(size * _WORD)).cast("Q")

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
        responses = self._notes + _RESPONSE
        lengths = (
            self._words[responses + thread * _NOTE] & LENGTH_UNKNOWN
            for thread, works in enumerate(busy)
            if works
        )
        return sum(length in (0, LENGTH_UNKNOWN) for length in lengths)

    def all_busy_since(self) -> int:
        """When the last thread began what it runs (monotonic nanoseconds); 0: one is free."""
        if self.busy() < self.living:
            return 0
        words, since = self._words, 0
        for note in range(self._notes, self._notes + self.lived * _NOTE, _NOTE):
            if words[note + _STATE] != IDLE:
                since = max(since, words[note + _BEGAN])
        return since

    def requests(self) -> int:
        """How many requests the worker has finished."""
        return sum(self._words[self._times : self._times + self.lived * BUCKETS])

    def running(self) -> list[Note]:
        """What the threads are running."""
        return [note for thread in range(self.lived) if (note := self._note(thread))]

    def active(self) -> list[Activity]:
        """What the threads are running, for people to look at."""
        return [found for thread in range(self.lived) if (found := self._activity(thread))]

    def times(self) -> list[int]:
        """How many requests took how long: a count per bucket (`BOUNDS`)."""
        counts = self._words[self._times : self._times + self.lived * BUCKETS].tolist()
        return [sum(counts[bucket::BUCKETS]) for bucket in range(BUCKETS)]

    def _activity(self, thread: int) -> Activity | None:
        """The worker writes meanwhile: None also if another request has begun as we read."""
        first = self._notes + thread * _NOTE
        began = self._words[first + _BEGAN]
        line = self._raw[(first + _LINE) * _WORD :][:LINE].tobytes()
        running = self._words[first + _STATE] != IDLE and self._words[first + _BEGAN] == began
        return Activity(began, line.rstrip(b"\0")) if running else None

    def _note(self, thread: int) -> Note | None:
        first = self._notes + thread * _NOTE
        state, serial, started, written, consumed, request, response = self._words[
            first : first + _BEGAN
        ]
        if state == IDLE:
            return None
        safe, thread = state == RUNNING_SAFE, self._words[first + _THREAD]
        return Note(serial, safe, started, written, consumed, request, response, thread)

    def pad(self, thread: int) -> Notepad:
        """Where one thread of the worker writes; it counts as having lived from now on."""
        self.lived = max(self.lived, thread + 1)
        first = self._notes + thread * _NOTE
        times = self._times + thread * BUCKETS
        return Notepad(self._words, self._raw, first, times, self._busy_bytes, thread)


class Notepad:
    """Where one thread writes what it does. Only that thread may."""

    __slots__ = ("_busy", "_first", "_offset", "_raw", "_times", "_words", "thread")

    def __init__(
        self,
        words: memoryview,
        raw: memoryview,
        first: int,
        times: int,
        busy: memoryview,
        thread: int,
    ) -> None:
        self._words = words
        self._raw = raw
        self._first = first
        self._offset = (first + _SERIAL) * _WORD
        self._times = times
        self._busy = busy
        self.thread = thread

    def sign(self, thread: int) -> None:
        """Write down the kernel's id of this thread; once."""
        self._words[self._first + _THREAD] = thread

    def begin(
        self,
        serial: int,
        safe: bool,
        now: int,
        written: int,
        consumed: int,
        request_length: int,
        data: bytes,
        answer: int = 0,
    ) -> None:
        """A request starts (``now``: monotonic nanoseconds; the rest as in `Note`).

        ``data``: how it begins; as much is noted as there is room for.
        ``answer``: as for `answer`, when that is known already.
        """
        self._busy[self.thread] = 1
        _pack(
            self._raw,
            self._offset,
            serial,
            now,
            written,
            consumed,
            request_length,
            answer,
            now,
            data,
        )
        self._words[self._first] = RUNNING_SAFE if safe else RUNNING

    def answer(self, response_length: int) -> None:
        """The response is made and about to be sent: so many bytes, head and body."""
        self._words[self._first + _RESPONSE] = response_length

    def answered(self) -> bool:
        """Whether a response was about to be sent, or is."""
        return bool(self._words[self._first + _RESPONSE])

    def progressed(self, now: int) -> None:
        """The request's time begins anew: a part of its response is out."""
        self._words[self._first + _STARTED] = now

    def wait_for_client(self) -> None:
        """The request's time stands still until it has `progressed`: it is the client's."""
        self._words[self._first + _STARTED] = _NOT_COUNTED

    def started(self) -> int:
        """When the request began or last progressed; monotonic nanoseconds, 0: there is none."""
        words, first = self._words, self._first
        return words[first + _STARTED] if words[first + _STATE] != IDLE else 0

    def began(self) -> int:
        """When the request that was begun last began; monotonic nanoseconds."""
        return self._words[self._first + _BEGAN]

    def claim(self) -> None:
        """A request is about to start: its thread counts as busy from now on."""
        self._busy[self.thread] = 1

    def put_off(self) -> None:
        """The app has run, but the response is to be sent later: as if nothing had happened."""
        self._words[self._first] = IDLE
        self._busy[self.thread] = 0

    def end(self, took: int) -> None:
        """The request is finished: answered and consumed, in so many nanoseconds."""
        words = self._words
        words[self._first] = IDLE
        words[self._times + bisect(BOUNDS, took)] += 1
        self._busy[self.thread] = 0
