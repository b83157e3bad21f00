"""The logs of a cluster as one: its last lines, and those that come.

Every file is followed by its descriptor, also those that are full already: a
process may write to one for a while after it was rotated. What is read is the
app's own text; cleaning it is for the command that shows it.
"""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter

from launcher.logs.folder import file_name, open_file, segments
from launcher.logs.times import UNKNOWN, Timeline
from launcher.logs.wanted import EVERYTHING, Wanted

__all__ = ["Line", "LogReader"]

_BLOCK = 64 << 10
LONGEST_LINE = 1 << 20
"""Bytes; what is longer comes in several pieces."""

_NAMELESS = 1 << 30
"""Added to the number that a file had before it lost its name."""

_ATTEMPTS = 10

_PATIENCE = 10
"""Looks that an unfinished line is waited for to be finished."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it was written, without its end. ``source``: a slot, ``pool`` or ``primary``."""

    when: float
    source: str
    text: str
    stream: int = UNKNOWN


class LogReader:
    """Reads the logs of one cluster. Close it."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def close(self) -> None:
        """Close the files."""
        for source in self._sources.values():
            source.close()

    def last(
        self, folder: int, count: int, unfinished: bool = True, wanted: Wanted = EVERYTHING
    ) -> list[Line]:
        """The last ``count`` of the ``wanted`` lines, by time; `more` goes on after them.

        ``unfinished``: also those that have no end yet; else they are left to `more`.
        """
        parts = [
            self._source(name).last(folder, numbers, count, unfinished, wanted)
            for name, numbers in segments(folder).items()
        ]
        merged = list(heapq.merge(*parts, key=attrgetter("when")))
        return merged[-count:] if count else []

    def more(self, folder: int) -> list[Line]:
        """All lines that have come since; in the order of each source, not of all."""
        found = segments(folder).items()
        return [
            line for name, numbers in found for line in self._source(name).more(folder, numbers)
        ]

    def _source(self, name: str) -> _Source:
        return self._sources.setdefault(name, _Source(name))


class _File:
    """A log file, open, and how far it was read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.inode = os.fstat(fd).st_ino
        self.number = 0
        self.position = 0
        self.looks = 0
        """How often its last line was found unfinished."""
        self._changed = 0
        """Its time of change when it was looked at."""
        self._emptied: float | None = None

    @property
    def grown(self) -> bool:
        """Whether there is something to read, or to read again."""
        status = os.fstat(self.fd)
        # When it was emptied there may be just as much in it again.
        return status.st_size != self.position or status.st_mtime_ns != self._changed

    def was_emptied(self, times: Timeline) -> bool:
        """Whether it was emptied since we asked last; then it is to be read from its beginning."""
        emptied = times.emptied(self.inode)
        if emptied is None or emptied == self._emptied:
            return False
        self._emptied = emptied
        self.position = self.looks = 0
        return True

    def backwards(self, unfinished: bool) -> Iterator[tuple[int, bytes]]:
        """Its lines with their offsets, the last first; `new_lines` goes on after them."""
        start = self.position = self._look()
        at_end = True
        blocks: list[bytes] = []
        while start > 0:
            step = min(_BLOCK, start)
            start -= step
            blocks.append(os.pread(self.fd, step, start))
            begun = blocks[-1].find(b"\n") + 1 if start else 0
            if start and not begun:  # in the middle of a long line
                continue
            data = b"".join(reversed(blocks))
            lines = list(_split(data[begun:], start + begun))
            blocks = [data[:begun]]
            if lines and at_end and not unfinished and not data.endswith(b"\n"):
                self.position = lines.pop()[0]
            at_end = at_end and not lines
            yield from reversed(lines)

    def new_lines(self) -> Iterator[tuple[int, bytes]]:
        """What has come since, with offsets. An unfinished line is waited for a while."""
        size = self._look()
        if size < self.position:  # it was emptied, from outside perhaps
            self.position = 0
        while self.position < size:
            block = os.pread(self.fd, min(LONGEST_LINE, size - self.position), self.position)
            cut = block.rfind(b"\n") + 1
            if not cut:
                self.looks += 1
                if len(block) < LONGEST_LINE and self.looks < _PATIENCE:
                    return
                cut = len(block)
            if not cut:  # emptied since we looked
                return
            yield from _split(block[:cut], self.position)
            self.position += cut
            self.looks = 0

    def _look(self) -> int:
        """Its size."""
        status = os.fstat(self.fd)
        self._changed = status.st_mtime_ns
        return status.st_size


class _Source:
    """The files of one source."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files: dict[tuple[int, int], _File] = {}
        self._latest = 0.0

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file.fd)
        self._files.clear()

    def last(
        self, folder: int, numbers: list[int], count: int, unfinished: bool, wanted: Wanted
    ) -> list[Line]:
        """The last ``count`` of the ``wanted`` lines."""
        self._open(folder, numbers)
        times = Timeline(folder, self._name)
        found: list[Line] = []
        if wanted.source not in (None, self._name):
            count = 0
        for file in sorted(self._files.values(), key=attrgetter("number")):
            file.was_emptied(times)  # asked before it is read, so that `more` misses nothing
            changed = os.fstat(file.fd).st_mtime
            # Also where no more are needed: this is what sets the place where `more` goes on.
            for offset, raw in file.backwards(unfinished):
                if len(found) == count:
                    break
                line = self._read(file, times, offset, raw, changed)
                if line.when < wanted.since:
                    count = len(found)
                elif wanted.takes(line.when, line.source, line.stream, line.text):
                    found.append(line)
        return [self._in_order(line) for line in reversed(found)]

    def more(self, folder: int, numbers: list[int]) -> list[Line]:
        """The lines that have come since."""
        self._open(folder, numbers)
        grown = [file for file in self._files.values() if file.grown]
        if not grown:
            return []
        grown.sort(key=attrgetter("number"), reverse=True)
        found: dict[_File, list[tuple[int, bytes]]] = {}
        unread = grown
        while unread:
            # Lines before marks: a line that is marked only after the marks were read would get
            # the file's time of change, which is later.
            found.update((file, list(file.new_lines())) for file in unread)
            times = Timeline(folder, self._name)
            unread = [file for file in unread if file.was_emptied(times)]
        return [
            self._in_order(
                self._read(file, times, offset, raw, os.fstat(file.fd).st_mtime),
            )
            for file in grown
            for offset, raw in found[file]
        ]

    def _open(self, folder: int, numbers: list[int]) -> None:
        """Have all files open that have a name, and those without one that are not read yet."""
        if not self._find(folder, numbers):
            return
        for key, file in list(self._files.items()):
            if file.number >= _NAMELESS and not file.grown:
                os.close(self._files.pop(key).fd)

    def _find(self, folder: int, numbers: list[int]) -> bool:
        """Open whatever has a name; ``numbers``: those there were a moment ago, the highest first.

        A rotation may be under way meanwhile, or be cut off in the middle. It only raises the
        numbers of files. So if two passes find the same files under the same numbers, none was
        renamed in between, and all had these numbers at once. False: no two passes agreed, and
        a file may have been missed.
        """
        before = None
        for _ in range(_ATTEMPTS):
            for file in self._files.values():
                file.number = file.number % _NAMELESS + _NAMELESS
            found = self._numbered(folder, numbers)
            if found == before:
                return True
            before = found
        return False

    def _numbered(self, folder: int, numbers: list[int]) -> dict[int, tuple[int, int] | None]:
        """The files by number, looked for in this order: `_find` relies on it."""
        found: dict[int, tuple[int, int] | None] = {}
        number = 0
        while number < 2 or found[number - 1] or found[number - 2]:  # rotating leaves a gap of one
            found[number] = self._open_number(folder, number)
            number += 1
        for number in reversed(numbers):
            if number not in found:  # beyond a gap, as a death in a rotation leaves one
                found[number] = self._open_number(folder, number)
        return found

    def _open_number(self, folder: int, number: int) -> tuple[int, int] | None:
        """The identity of the file that has the number now; None if there is none to be had."""
        name = file_name(self._name, number)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (status.st_dev, status.st_ino) not in self._files:
                fd = open_file(folder, name, os.O_RDONLY)
                status = os.fstat(fd)  # the name may be another file's by now
                if (status.st_dev, status.st_ino) in self._files:
                    os.close(fd)
                else:
                    self._files[status.st_dev, status.st_ino] = _File(fd)
        except OSError:
            return None
        key = status.st_dev, status.st_ino
        self._files[key].number = number
        return key

    def _read(self, file: _File, times: Timeline, offset: int, raw: bytes, changed: float) -> Line:
        when = times.when(file.inode, offset, changed)
        text = raw.rstrip(b"\r\n").decode(errors="backslashreplace")
        return Line(when, self._name, text, times.stream(file.inode, offset))

    def _in_order(self, line: Line) -> Line:
        """Time never runs backwards in a source: what came later is shown later."""
        self._latest = max(self._latest, line.when)
        return line if line.when == self._latest else replace(line, when=self._latest)


def _split(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """The lines in ``data``, and where they are in a file that has it at ``offset``."""
    for raw in io.BytesIO(data):  # ends at \n only, unlike splitlines
        yield offset, raw
        offset += len(raw)
