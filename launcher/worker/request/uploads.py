"""What a worker can take of the bodies of requests: how large, how many at once, how much kept.

A body takes one of two ways. A small one is kept here, in a `Spool`, until all of it has come;
that costs no thread. For a large one the app begins first and reads it from the client as it
comes (``body_reader.py``), so that the app can refuse it. That holds a thread for as long as
the client takes, so there are `places` for it; without one, a large body takes the way of the
small.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO

from launcher.worker.request.body_errors import NoRoom, TooLarge

EARLY = 1 << 20
"""Bytes of a body beyond which the app begins before all of it is here."""

MOST_KEPT = 1 << 30
"""Bytes of bodies that a worker keeps at a time; more where the limit of one body is higher."""

_IN_MEMORY = 256 * 1024
"""Bytes of a body that are kept in memory; more of them go to a temporary file."""

_SAY_AGAIN = 60.0
"""Seconds between two lines in the log that say that there is no room."""


def places(threads: int) -> int:
    """How many of a worker's threads may run apps that read a body as it comes.

    The others are for requests that are here already, however many uploads are slow.
    """
    return threads // 2


class Uploads:
    """The bodies of one worker. For all of its threads."""

    def __init__(self, limit: int, threads: int, warn: Callable[[str], object]) -> None:
        """``limit``: bytes that a body may have, 0: any number. ``warn`` writes a line."""
        self._limit = limit
        self._most_kept = max(MOST_KEPT, limit)
        self._places = places(threads)
        self._warn = warn
        self._reading = 0
        self._kept = 0
        self._counting = threading.Lock()
        self._said = float("-inf")

    def __len__(self) -> int:
        """How many requests read their body from the client at this moment."""
        return self._reading

    def check(self, size: int) -> None:
        """Raise TooLarge when a body of ``size`` bytes may not come in."""
        if 0 < self._limit < size:
            raise TooLarge(self._limit)

    def enter(self) -> bool:
        """Take a place for a request that reads its body from the client, if there is one."""
        with self._counting:
            free = self._reading < self._places
            self._reading += free
        return free

    def leave(self) -> None:
        """Give the place back."""
        with self._counting:
            self._reading -= 1

    def keep(self, size: int) -> None:
        """So many bytes more are kept from now on. Raises NoRoom when they are too many."""
        with self._counting:
            if self._kept + size <= self._most_kept:
                self._kept += size
                return
        raise self.no_room(f"this worker keeps {self._kept} bytes already")

    def drop(self, size: int) -> None:
        """So many bytes are kept no longer."""
        with self._counting:
            self._kept -= size

    def no_room(self, reason: str) -> NoRoom:
        """What to raise when there is no room; the log gets a line, one a minute at most."""
        error = NoRoom(reason)
        now = time.monotonic()
        if now - self._said > _SAY_AGAIN:
            self._said = now
            self._warn(str(error))
        return error


class Spool:
    """The bytes that are kept of one body: in memory, or in a file without a name."""

    def __init__(self, uploads: Uploads) -> None:
        self.size = 0
        self._uploads = uploads
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._position = 0

    def write(self, data: bytes) -> None:
        """Add all of ``data``, or nothing: raises NoRoom then."""
        size = len(data)
        self._uploads.keep(size)
        try:
            self._add(data)
        except OSError as error:
            self._uploads.drop(size)
            raise self._uploads.no_room(f"{error.strerror or error}") from error
        self.size += size

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; empty when all are read."""
        start = self._position
        if self._file:
            data = os.pread(self._file.fileno(), min(size, self.unread()), start)
        else:
            data = bytes(self._memory[start : start + size])
        self._position += len(data)
        return data

    def unread(self) -> int:
        """Bytes that `read` has not given yet."""
        return self.size - self._position

    def close(self) -> None:
        """Drop all bytes. Closing twice is fine."""
        if self._file:
            self._file.close()
            self._file = None
        self._memory.clear()
        self._uploads.drop(self.size)
        self.size = self._position = 0

    def _add(self, data: bytes) -> None:
        if self._file is None and self.size + len(data) > _IN_MEMORY:
            self._move_to_file()
        if self._file:
            _write_at(self._file.fileno(), data, self.size)
        else:
            self._memory += data

    def _move_to_file(self) -> None:
        # Unbuffered: else the disk may turn out to be full at a flush, too late to tell.
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # `close` closes it
        try:
            _write_at(file.fileno(), bytes(self._memory), 0)
        except OSError:
            file.close()
            raise
        self._file = file
        self._memory.clear()


def _write_at(fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        offset += written
        rest = rest[written:]
