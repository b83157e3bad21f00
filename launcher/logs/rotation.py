"""How a log file is followed by a new one: what the files are called, kept, saved, forgotten.

Theory of operation
===================

**Parties.** The *writers* of a source: the worker of a slot and its successor, or the pools of
two generations, each a process; its threads take turns at a mutex of their own. *Child processes*
of the app, and its C code: they write to descriptors that they inherited, know no name, and take
no turn. *Readers* (`launcher.logs.reading`) follow files by descriptor. *Outsiders*: logrotate
renames or truncates, a user removes. And any process may be stopped, or die, between any two
steps.

**Invariant.** A line is whole, in one file, which has a name or is open in a process that writes
to it. The numbers of files only rise: what was ``.1`` becomes ``.2`` or goes. One file alone may
come back, emptied: the oldest, if a child still writes to it (A1).

There are two locks, both records of the file of marks (fcntl(2)), so the kernel drops them with
their holder. The *turn to write* orders the lines and their marks. Appending is safe without it
(O_APPEND, write(2)), so a writer that does not get it in time does without. The *turn to rotate*
is what no process does without: two that rename at once would put an empty file over one with
lines in it. So where that is held the file just grows. Writer A rotates (`Rotation.turn_over`):

    A1  saves the oldest file if a child still writes to it: it becomes the next one
    A2  opens the next file, which is empty
    A3  renames, from the first number that is free down to 0: ``0.log.1`` to ``0.log.2``, then
        ``0.log`` to ``0.log.1``
    A4  renames the next file to ``0.log``

* *Writer B looks before A3 and writes after A4*: B has no turn, or A had none. The line is whole,
  at the end of ``0.log.1``. B looks by name before each line, so the next one is in the new file.
* *B looks between A3 and A4*, and there is no ``0.log``: without a turn B goes on in the file
  that it has open. With a turn B takes the name for free and makes the file, which A4 then
  replaces. That needs a B that was stopped with its turn for `PATIENCE` and goes on just between
  two renames; then the line is lost.
* *A child writes to the oldest file between A1 and A2*: A2 empties it, so that line goes with the
  others of the file, whose time had come.
* *A dies after A1*: the child goes on in the next file, which the next rotation empties. *After
  A2*: likewise. *In A3*: one number is free, and the
  next A3 goes only up to it, so no file is renamed over another. *Before A4*: the next writer
  makes the file.
* *A cannot go on* (no descriptor, no space): that shows at A2, when only the oldest file may have
  been renamed.
* *A child writes to the oldest file*: removing that would lose what it writes from then on.
  Whether it does, the kernel tells (`is_being_written`). Where no full file is kept, the file is
  emptied in place.
* *logrotate renames the file*: as A3 and A4 by another; a writer finds that at its next line. *It
  truncates*: O_APPEND goes on at the new end.

**Rejected.** *One process that writes for all*, the primary or a logger behind pipes: where it
stands still or dies, apps block in their prints, and last words are lost. *flock(2)*: a forked
child shares the lock of its parent, and keeps it when that dies. *Copy, then truncate*: what is
written in between is lost. *A signal to reopen*: until it is heard, lines go to the old file, and
a process that is stopped hears nothing.

**Measured** (CPU time, Python 3.11, one process, lines of 80 bytes): a line takes 6.7 us, of
which the turn is 0.74 and the look by name 0.77; write(2) alone is 0.37.
``tests/logs/test_storm.py`` has several processes and threads write as fast as they can over
rotations, and counts the lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from launcher.logs.folder import (
    APPENDING,
    file_name,
    is_being_written,
    next_name,
    open_file,
    segments,
)
from launcher.logs.times import PATIENCE, Times

__all__ = ["Rotation", "empty"]


class Rotation:
    """Begins a new file of a source; ``keep`` full ones are kept."""

    def __init__(self, folder: int, source: str, keep: int, times: Times) -> None:
        self._folder = folder
        self._source = source
        self._name = file_name(source)
        self._keep = keep
        self._times = times

    def turn_over(self, use: Callable[[int], None]) -> None:
        """Begin a new file, and have ``use`` write to it: it takes the descriptor.

        OSError where that is not possible; then the old one is written to still.
        """
        self._remove_what_was_more()
        if self._keep:
            use(self._begin_next())
        else:
            self._begin_over(use)
        self._forget_marks()

    def _remove_what_was_more(self) -> None:
        for number in segments(self._folder).get(self._source, []):
            if number > self._keep:
                os.unlink(file_name(self._source, number), dir_fd=self._folder)

    def _begin_next(self) -> int:
        """Begin a new file, and keep the old one."""
        self._save_from_oblivion(file_name(self._source, self._keep))
        # First what may fail: there may be no descriptor, or no space, left.
        fresh = self._open_next()
        try:
            self._shift()
            self._rename(next_name(self._source), self._name)
        except OSError:
            os.close(fresh)
            raise
        return fresh

    def _begin_over(self, use: Callable[[int], None]) -> None:
        """Begin a new file and let go of the old one, which its followers read to its end.

        If other processes write to it, which may know of no other file, it is emptied instead.
        """
        old = open_file(self._folder, self._name, os.O_RDONLY)
        try:
            use(self._open_next())  # else this process would be one of the writers
            if is_being_written(old):
                use(open_file(self._folder, self._name, APPENDING | os.O_TRUNC))
                os.unlink(next_name(self._source), dir_fd=self._folder)
            else:
                self._rename(next_name(self._source), self._name)
        finally:
            os.close(old)

    def _open_next(self) -> int:
        return open_file(self._folder, next_name(self._source), APPENDING | os.O_TRUNC)

    def _shift(self) -> None:
        """Make the current file number 1, that number 2, and so on up to the first free number."""
        keep = self._keep
        numbers = segments(self._folder).get(self._source, [])
        free = next((number for number in range(1, keep) if number not in numbers), keep)
        for number in range(free, 0, -1):
            self._rename(file_name(self._source, number - 1), file_name(self._source, number))

    def _save_from_oblivion(self, oldest: str) -> None:
        """If the oldest file, which is to be removed, is still written to, make it the next one.

        Its writer is a child process of the app: it inherited the descriptor and knows no other
        file, so what it writes from now on would be lost with this one.
        """
        with suppress(FileNotFoundError):
            fd = open_file(self._folder, oldest, os.O_RDONLY)
            try:
                if is_being_written(fd):
                    self._rename(oldest, next_name(self._source))
            finally:
                os.close(fd)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _forget_marks(self) -> None:
        """Forget the marks of files that are gone."""
        names = [file_name(self._source, n) for n in segments(self._folder)[self._source]]
        inodes = {os.stat(name, dir_fd=self._folder).st_ino for name in names}
        self._times.keep(inodes.__contains__)


def empty(folder: int) -> None:
    """Forget all that was logged. The processes that write to the files go on doing so.

    Therefore in place: child processes know of no other file.
    """
    for source in segments(folder):
        times = Times(folder, source, PATIENCE)
        times.begin_turn()
        times.keep(lambda _inode: False)
        for number in segments(folder).get(source, []):
            with suppress(FileNotFoundError):
                _forget(folder, source, number, times)
        times.end_turn()
        times.close()


def _forget(folder: int, source: str, number: int, times: Times) -> None:
    if number:
        os.unlink(file_name(source, number), dir_fd=folder)
        return
    fd = open_file(folder, file_name(source), os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        times.note_emptied(os.fstat(fd).st_ino)
    finally:
        os.close(fd)
