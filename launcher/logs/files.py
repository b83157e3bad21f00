"""A log file that several processes and threads append to, and that any of them may rotate.

A writer waits for its turn (``times``), looks by name whether the file is still the
one it has open, begins a new one if there is no room for its lines, and writes them
with one write(2). So nothing is lost or mixed by a rotation
here, nor by one from outside, and no file grows beyond its size. What C code
and child processes write past us is looked after now and then.

Logging never stops the serving: what cannot be written is dropped, and when
there is room again a line says how much that was.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from launcher.logs.folder import APPENDING, file_name, open_file, successor
from launcher.logs.rotation import Rotation
from launcher.logs.times import PATIENCE, UNKNOWN, Mark, Times

__all__ = ["Limits", "LogFile"]

_NONE = (0, 0)
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file becomes (bytes, 0: any size), and how many full ones are kept."""

    size: int
    keep: int


class LogFile:
    """The log of one source.

    ``folder`` becomes the descriptor of the folder made in its place, should it be removed.
    ``stand_ins`` are descriptors that are to be this file as well: 1 and 2.
    """

    def __init__(
        self,
        folder: int,
        source: str,
        limits: Limits,
        stand_ins: tuple[int, ...] = (),
        patience: float = PATIENCE,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._full = limits.size - limits.size // 32 if limits.size else sys.maxsize
        """Bytes; the margin is for the marks that other processes make."""
        self._stand_ins = stand_ins
        self._patience = patience
        self._mutex = threading.RLock()
        self._busy = False
        self._fd = -1
        self._stood_for = _NONE
        """The file that the stand-ins are."""
        self._lost = 0
        self._why = ""
        self._begin(source)

    def become(self, source: str) -> None:
        """Be the log of another source from now on. In a process that was just forked."""
        self.after_fork()
        self._times.close()
        self._begin(source)

    def after_fork(self) -> None:
        """In a new process: the thread that had the mutex is not here."""
        self._mutex = threading.RLock()
        self._busy = False

    def append(
        self,
        data: bytes,
        author: Hashable = None,
        goes_on: bool = False,
        stream: int = UNKNOWN,
    ) -> None:
        """Write lines, or a part of one when they do not end with a newline.

        A part is ended before another author writes, so that lines do not mix.
        ``goes_on``: ``author`` has written the beginning of the line before; it
        is joined if nothing came in between. ``stream``: OUT or ERR, for the readers.
        """
        with self._mutex:
            if self._busy:  # a signal handler, or __del__, in the middle of what follows
                with suppress(OSError):
                    os.write(self._fd, data)
                return
            self._busy = True
            try:
                for piece in (data,) if len(data) <= self._full else _pieces(data, self._full):
                    self._append(piece, author, goes_on, stream)
                    goes_on = not piece.endswith(b"\n")
            except OSError as error:
                self._end = _UNKNOWN
                self._lost += data.count(b"\n") or 1
                self._why = error.strerror or str(error)
            finally:
                self._busy = False

    def close(self) -> None:
        """Close what is ours; the stand-ins belong to another `LogFile` by now."""
        self._times.close()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._id = -1, _NONE

    def look_after(self) -> None:
        """Note what was written past us, from C or by child processes; rotate if it is much.

        Also takes up the folder and the file that have the name by now. Cheap when there is
        nothing to do.
        """
        with self._mutex:
            if self._busy:
                return
            self._busy = True
            try:
                if self._changed():
                    self._leave_removed_folder()
                    self._note_what_came_past_us()
            finally:
                self._busy = False

    def move_to(self, folder: int) -> None:
        """Write to the folder that is open as ``folder``, unless it is the one we have."""
        with self._mutex:
            if os.path.sameopenfile(folder, self._folder):
                return
            os.dup2(folder, self._folder, inheritable=False)
            self._times.close()  # the lock is another file now
        self.look_after()

    def give_to(self, uid: int, gid: int) -> None:
        """Let this process rotate it when it will have become another user. For root."""
        with suppress(OSError):
            for fd in (self._folder, self._fd, self._times.fileno()):
                os.fchown(fd, uid, gid)

    # What follows is done by one thread at a time.

    def _begin(self, source: str) -> None:
        self._source = source
        self._name = file_name(source)
        self._times = Times(self._folder, source, self._patience)
        self._id = _NONE
        self._end = _UNKNOWN
        """Size of the file after our last write."""
        self._unfinished: Hashable = None
        """The author of the unfinished line that the file ends with, if it is as we left it."""
        self._noted = 0
        """Up to where it is marked when it was written."""
        self._marks = 0
        """Bytes that the marks take; they count to the size of the file."""
        self._note_what_came_past_us()

    def _append(self, data: bytes, author: Hashable, goes_on: bool, stream: int) -> None:
        self._times.begin_turn()
        try:
            size = self._current().st_size
            if size + len(data) > self._full - self._marks and size:
                self._rotate(len(data))
                size = self._current().st_size
            if size != self._end or self._unfinished is not None or goes_on or self._lost:
                data = self._joined(self._confession() + data, size, author, goes_on)
            # First, so that a reader of the lines finds their time.
            self._mark(size, size + len(data), time.time(), stream)
            try:
                _write(self._fd, data)
            except OSError:
                self._noted = size
                raise
            self._lost = 0
            self._end = size + len(data)
            self._unfinished = None if data.endswith(b"\n") else author
        finally:
            self._times.end_turn()

    def _joined(self, data: bytes, size: int, author: Hashable, goes_on: bool) -> bytes:
        """``data`` as it must follow what is in the file."""
        if size == self._end:
            in_a_line, ours = self._unfinished is not None, self._unfinished == author
        else:
            in_a_line, ours = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n", False
        if goes_on and not ours and data.startswith(b"\n"):
            return data[1:]  # the writer that came in between has ended the line
        return b"\n" + data if in_a_line and not ours else data

    def _confession(self) -> bytes:
        if not self._lost:
            return b""
        return f"[log] lines that could not be written: {self._lost} ({self._why})\n".encode()

    def _note_what_came_past_us(self) -> None:
        self._times.begin_turn()
        try:
            status = self._current()
            if status.st_size > self._noted:
                self._mark(self._noted, status.st_size, status.st_mtime, UNKNOWN)
            self._noted = status.st_size
            if self._limits.size and status.st_size >= self._full - self._marks:
                self._rotate(1)
        except OSError:
            pass  # another time
        finally:
            self._times.end_turn()

    def _mark(self, start: int, end: int, when: float, stream: int) -> None:
        if start < self._noted:  # it was emptied meanwhile
            self._marks = 0
        self._marks += self._times.add(Mark(self._id[1], start, end, when, stream))
        self._noted = end

    def _changed(self) -> bool:
        try:
            status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return _id(status) != self._id or status.st_size != self._noted

    def _leave_removed_folder(self) -> None:
        with suppress(OSError):
            folder = successor(self._folder)
            if folder is not None:
                os.dup2(folder, self._folder, inheritable=False)
                os.close(folder)
                self._times.close()  # the lock is another file now

    def _current(self) -> os.stat_result:
        """The file that has the name now; opens it if that is another than before."""
        try:
            status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
            if _id(status) == self._id:
                return status
        except FileNotFoundError:
            if not self._times.mine and self._fd >= 0:
                return os.fstat(self._fd)  # in the middle of being replaced
        try:
            self._use(open_file(self._folder, self._name, APPENDING))
        except OSError:
            if self._fd < 0:
                raise
            # Go on in the file that is open, though it has lost its name: better there than lost.
        return os.fstat(self._fd)

    def _use(self, fd: int) -> None:
        """Write to the file open as ``fd`` from now on, and have the stand-ins do so."""
        if self._fd < 0:
            self._fd = fd
        else:
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
        status = os.fstat(self._fd)
        for stand_in in self._stand_ins:
            self._stand_in(stand_in)
        self._stood_for = _id(status)
        self._id = _id(status)
        self._end = _UNKNOWN
        self._unfinished = None
        if status.st_size == 0 and self._times.of(status.st_ino):
            # They are of what was in it, or in another file with the inode.
            self._times.note_emptied(status.st_ino)
        marks = self._times.of(status.st_ino)
        self._marks = self._times.size(len(marks))
        self._noted = max((mark.end for mark in marks), default=0)

    def _stand_in(self, number: int) -> None:
        """Have another descriptor be this file, unless the app has made something else of it."""
        with suppress(OSError):
            if self._stood_for in (_NONE, _id(os.fstat(number))):
                os.dup2(self._fd, number)

    def _rotate(self, needed: int) -> None:
        """Begin a new file. Where that is not possible the old one just grows."""
        with suppress(OSError), self._times.turn_to_rotate() as alone:
            if not alone or self._current().st_size + needed <= self._full - self._marks:
                return
            rotation = Rotation(self._folder, self._source, self._limits.keep, self._times)
            rotation.turn_over(self._use)


def _id(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _write(fd: int, data: bytes) -> None:
    """All of it, with one write(2) unless the disk is full."""
    while (written := os.write(fd, data)) < len(data):
        data = data[written:]


def _pieces(data: bytes, most: int) -> Iterator[bytes]:
    """``data`` in pieces that fit a file, cut between lines where there are any."""
    while len(data) > most:
        cut = data.rfind(b"\n", 0, most) + 1 or most
        yield data[:cut]
        data = data[cut:]
    yield data
