"""What one thread of a worker is doing: its note in the scoreboard.

A note holds only what survives a ``kill -9`` in the middle of a write: it counts from
the moment its ``state`` is set, which is written last and cleared first.
"""

from __future__ import annotations

import itertools
import math
import struct
from bisect import bisect_left
from typing import NamedTuple

WORD = 8
"""Bytes."""

STATE, _SERIAL, _STARTED, _WRITTEN, _CONSUMED, _REQUEST, RESPONSE, BEGAN, _LINE = range(9)
_THREAD = 15
NOTE = 16  # words: two cache lines

_NOT_COUNTED = (1 << 63) - 1
"""Instead of when a request began: no client waits for its app."""

LINE = (_THREAD - _LINE) * WORD
"""Bytes of a request's first line that are noted."""

_pack = struct.Struct(f"=7Q{LINE}s").pack_into
"""Writes a note's fields from `_SERIAL` to `_LINE`; `STATE` stays for last."""

LENGTH_UNKNOWN = (1 << 62) - 1
"""Response length in a note: sending has begun, the end is not known."""

CLOSES = 1 << 62
"""Flag beside the response length in a note: the connection ends with this response."""

STANDARD_BOUNDS = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
]
"""Nanoseconds: the bounds that OpenTelemetry's semantic conventions advise for the metric
``http.server.request.duration``."""


def _bounds() -> list[int]:
    """The standard bounds, with steps of at most 4/3 below, between and above them."""
    ends = [10_000, *STANDARD_BOUNDS, 560_000_000_000]
    found = []
    for low, high in itertools.pairwise(ends):
        steps = math.ceil(round(math.log(high / low, 4 / 3), 6))
        found += [round(low * (high / low) ** (step / steps)) for step in range(steps)]
    return [*found, ends[-1]]


BOUNDS = _bounds()
"""Nanoseconds that a time in each bucket does not exceed: 10 us to 9 min."""

BUCKETS = len(BOUNDS) + 1

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


def noted(words: memoryview, first: int) -> Note | None:
    """The note that begins at the word ``first``, if it counts."""
    state, serial, started, written, consumed, request, response = words[first : first + BEGAN]
    if state == IDLE:
        return None
    safe, thread = state == RUNNING_SAFE, words[first + _THREAD]
    return Note(serial, safe, started, written, consumed, request, response, thread)


def activity(words: memoryview, raw: memoryview, first: int) -> Activity | None:
    """What the thread runs whose note begins at the word ``first``; None: nothing.

    The worker writes meanwhile: None also if another request has begun as we read.
    """
    began = words[first + BEGAN]
    line = raw[(first + _LINE) * WORD :][:LINE].tobytes()
    running = words[first + STATE] != IDLE and words[first + BEGAN] == began
    return Activity(began, line.rstrip(b"\0")) if running else None


class Notepad:
    """Where one thread writes what it does. Only that thread may."""

    __slots__ = ("_busy", "_first", "_offset", "_raw", "_times", "_took", "_words", "thread")

    def __init__(
        self,
        words: memoryview,
        raw: memoryview,
        first: int,
        times: int,
        took: int,
        busy: memoryview,
        thread: int,
    ) -> None:
        self._words = words
        self._raw = raw
        self._first = first
        self._offset = (first + _SERIAL) * WORD
        self._times = times
        self._took = took
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
        self._words[self._first + RESPONSE] = response_length

    def answered(self) -> bool:
        """Whether a response was about to be sent, or is."""
        return bool(self._words[self._first + RESPONSE])

    def progressed(self, now: int) -> None:
        """The request's time begins anew: a part of its response is out."""
        self._words[self._first + _STARTED] = now

    def wait_for_client(self) -> None:
        """The request's time stands still until it has `progressed`: it is the client's."""
        self._words[self._first + _STARTED] = _NOT_COUNTED

    def started(self) -> int:
        """When the request began or last progressed; monotonic nanoseconds, 0: there is none."""
        words, first = self._words, self._first
        return words[first + _STARTED] if words[first + STATE] != IDLE else 0

    def began(self) -> int:
        """When the request that was begun last began; monotonic nanoseconds."""
        return self._words[self._first + BEGAN]

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
        words[self._times + bisect_left(BOUNDS, took)] += 1
        words[self._took] += took
        self._busy[self.thread] = 0
