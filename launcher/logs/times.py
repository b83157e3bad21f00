"""When what was written to a log: marks in a file beside it, which is also its lock.

A mark says that the bytes from ``start`` to ``end`` of the file with that inode
were written at ``when``, and to which stream. Not every write leaves one of its
own: the mark before is extended by what follows within a millisecond on the same
stream. Marks name the inode, so they stay true when the file is renamed, here or by
logrotate.

A mark without any bytes says that the file was emptied: a reader that follows the file
cannot tell that by its size once there is as much in it again.

The lock belongs to the process (fcntl(2), not flock(2)): a forked child has
none of it, and it ends with its holder, however that dies. There are two, one
to write and one more to rotate. When nothing is written any more, because the
process whose turn it is has been stopped, the others wait for `PATIENCE`, then write
without a turn: that is safe, as appending is. No process rotates without one.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from launcher.logs.folder import file_name, open_file, times_name

__all__ = ["ERR", "OUT", "PATIENCE", "UNKNOWN", "Mark", "Timeline", "Times"]

PATIENCE = 2.0
"""Seconds to wait for a turn while nothing is written.

Turns take microseconds, but on a busy machine their owner may have to wait for a processor."""

UNKNOWN, OUT, ERR = range(3)
"""Streams: standard output, standard error. Unknown: written past us, where both are one file."""

_CLOSE = 0.001
"""Seconds within which two writes are told apart by their order only."""

_LOOK_AGAIN = 0.0002
_HOPELESS = 10.0
"""Seconds without turns: when the holder of the lock has made no progress in `PATIENCE`, for
example because it was stopped, other writers append without the lock for so long."""

# Which byte of the file is locked. None of them need be there.
_WRITE, _ROTATE = (1 << 62), (1 << 62) + 1


class Mark(NamedTuple):
    """One record of the file."""

    inode: int
    start: int
    end: int
    when: float
    stream: int = UNKNOWN


_MARK = struct.Struct("<QQQd")
MARK_SIZE = _MARK.size
_STREAM = 62
"""The stream is in the two highest bits of the end, where earlier versions have zeros."""


class Times:
    """The marks of one source, and the turn to write to its files."""

    def __init__(self, folder: int, source: str, patience: float) -> None:
        """``patience``: seconds to wait for a turn."""
        self._folder = folder
        self._source = source
        self._patience = patience
        self._fd = -1
        self._last = Mark(0, 0, 0, 0.0)
        self._last_place = 0
        self._hopeless_until = 0.0
        self.mine = False
        """Whether this process holds the turn to write."""

    def fileno(self) -> int:
        """The descriptor; -1 while there is none."""
        return self._fd

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def begin_turn(self) -> None:
        """Be the only writer, or go on without if another does not let go."""
        # Not a context manager: this is done for every line.
        self.mine = (self._fd >= 0 and self._take(_WRITE)) or self._wait()

    def end_turn(self) -> None:
        """Let others write."""
        if self.mine:
            self.mine = False
            self._yield(_WRITE)

    @contextmanager
    def turn_to_rotate(self) -> Iterator[bool]:
        """Be the only process that renames files; False if another one does."""
        taken = self._fd >= 0 and self._take(_ROTATE)
        try:
            yield taken
        finally:
            if taken:
                self._yield(_ROTATE)

    def add(self, mark: Mark) -> int:
        """Mark what was written; the bytes that this took. Does without when it cannot."""
        before = self._last
        follows = (mark.inode, mark.start, mark.stream) == (before.inode, before.end, before.stream)
        if follows and 0 <= mark.when - before.when < _CLOSE and self._extend(mark.end):
            return 0
        self._last = mark
        self._put(mark)
        return MARK_SIZE

    def note_emptied(self, inode: int) -> None:
        """Mark that there is nothing in a file any more, once that is so."""
        self.keep(lambda other: other != inode)
        self._put(Mark(inode, 0, 0, time.time()))

    @staticmethod
    def size(count: int) -> int:
        """The bytes that so many marks take."""
        return _MARK.size * count

    def of(self, inode: int) -> list[Mark]:
        """The marks of one file."""
        return [mark for mark in _read(self._fd) if mark.inode == inode]

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Forget the marks of all files whose inode is not wanted.

        In place, because the file is the lock.
        """
        marks = _read(self._fd)
        kept = [mark for mark in marks if wanted(mark.inode)]
        if len(kept) < len(marks):
            with suppress(OSError):
                os.pwrite(self._fd, b"".join(map(_packed, kept)), 0)
                os.ftruncate(self._fd, MARK_SIZE * len(kept))

    def _put(self, mark: Mark) -> None:
        with suppress(OSError):
            place = os.lseek(self._fd, 0, os.SEEK_END)
            # A process that died in the middle of a mark has left a part of one.
            self._last_place = place - place % MARK_SIZE
            os.pwrite(self._fd, _packed(mark), self._last_place)

    def _extend(self, end: int) -> bool:
        """Have our last mark end there; False if another process has moved it (`keep`)."""
        longer = self._last._replace(end=end)
        with suppress(OSError):
            if os.pread(self._fd, MARK_SIZE, self._last_place) != _packed(self._last):
                return False
            os.pwrite(self._fd, _packed(longer), self._last_place)
            self._last = longer
            return True
        return False

    def _wait(self) -> bool:
        if self._fd < 0 and not self._open():
            return False
        seen = self._progress()
        deadline = time.monotonic() + self._patience
        while not self._take(_WRITE):
            now = time.monotonic()
            if now < self._hopeless_until:
                return False
            if now >= deadline:
                if seen == self._progress():
                    self._hopeless_until = now + _HOPELESS
                seen, deadline = self._progress(), now + self._patience
            time.sleep(_LOOK_AGAIN)
        self._hopeless_until = 0.0
        return True

    def _open(self) -> bool:
        with suppress(OSError):
            self._fd = open_file(self._folder, times_name(self._source), os.O_RDWR | os.O_CREAT)
            return True
        return False

    def _progress(self) -> tuple[int, int]:
        """Changes whenever any process has written, or has begun a new file."""
        with suppress(OSError):
            status = os.stat(file_name(self._source), dir_fd=self._folder)
            return status.st_ino, status.st_size
        return 0, 0

    def _take(self, which: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, which)
        except OSError:
            return False
        return True

    def _yield(self, which: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, which)


class Timeline:
    """The marks of one source, as they are now, for readers."""

    def __init__(self, folder: int, source: str) -> None:
        self._marks: dict[int, list[Mark]] = {}
        self._emptied: dict[int, float] = {}
        with suppress(OSError):
            fd = open_file(folder, times_name(source), os.O_RDONLY)
            try:
                marks = _read(fd)
            finally:
                os.close(fd)
            self._emptied = {mark.inode: mark.when for mark in marks if not mark.end}
            # Of two marks with the same start the earlier time is to be found.
            for mark in sorted(marks, key=lambda mark: (mark.start, -mark.when)):
                if mark.end:
                    self._marks.setdefault(mark.inode, []).append(mark)

    def emptied(self, inode: int) -> float | None:
        """When that file was emptied, the last time; None if it never was."""
        return self._emptied.get(inode)

    def when(self, inode: int, offset: int, changed: float) -> float:
        """When that byte was written; ``changed``: when its file was, last of all.

        What came after the last mark came past us: a crash's last words.
        """
        mark = self._mark_before(inode, offset)
        if mark is None:
            return changed
        return changed if mark is self._marks[inode][-1] and offset >= mark.end else mark.when

    def stream(self, inode: int, offset: int) -> int:
        """What that byte was written to: OUT, ERR, or UNKNOWN."""
        mark = self._mark_before(inode, offset)
        return mark.stream if mark and mark.start <= offset < mark.end else UNKNOWN

    def _mark_before(self, inode: int, offset: int) -> Mark | None:
        """The mark of that byte, else the last one before it, else the first."""
        marks = self._marks.get(inode)
        if not marks:
            return None
        return marks[max(0, bisect_right(marks, offset, key=lambda mark: mark.start) - 1)]


def _packed(mark: Mark) -> bytes:
    return _MARK.pack(mark.inode, mark.start, mark.end | mark.stream << _STREAM, mark.when)


def _read(fd: int) -> list[Mark]:
    """The whole marks in the file."""
    try:
        content = os.pread(fd, os.fstat(fd).st_size, 0)
    except OSError:
        return []
    whole = len(content) - len(content) % MARK_SIZE
    return [
        Mark(inode, start, end & (1 << _STREAM) - 1, when, end >> _STREAM)
        for inode, start, end, when in _MARK.iter_unpack(content[:whole])
    ]
