"""How a log file is followed by a new one: what the files are called, kept, saved, forgotten.

Only in the turn of the process that does it (`launcher.logs.times`).
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
        """Make the current file number 1. Up to the first gap, as a death in here leaves one."""
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
        """Those of files that are gone."""
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
