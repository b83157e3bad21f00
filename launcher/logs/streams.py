"""The standard output and error of a process, in its log file or where they were before.

In the background descriptors 1 and 2 *are* the file, so whatever writes to them arrives:
C code, child processes, the last words of a crash. ``sys.stdout`` and ``sys.stderr``
go through ``files``, a whole line at a time.

``print`` writes a line in pieces, and several threads print at once: here each
thread has a line of its own until it has ended or flushed it.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
from collections.abc import Hashable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Protocol

from launcher.logs.files import Limits, LogFile
from launcher.logs.times import ERR, OUT, UNKNOWN

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["FileOutput", "Output"]

LONGEST_HELD = 64 << 10
"""Bytes of an unfinished line that a thread may hold back."""

_TICK = 1000
"""Milliseconds for which the beginning of a line is held back, or a reader is waited for."""


class Output:
    """In the foreground: what is written goes where it did before, on descriptors 1 and 2.

    But an app that prints never hears that its output has no reader, or that the disk is
    full: that is no matter of the app's. There is one of it in a process, and it is there for good.
    """

    def __init__(self) -> None:
        self._take_over(_Inherited(1), _Inherited(2))

    @property
    def tick(self) -> int | None:
        """Milliseconds after which it wants to be looked after again."""
        return _TICK if any(stream.holds for stream in self._streams) else None

    def become(self, source: str) -> None:
        """In a worker that was just forked: write to the log of its slot."""

    def look_after(self) -> None:
        """Write what threads hold back; keep up what is in files."""
        for stream in self._streams:
            stream.release(only_stale=True)

    def move_to(self, folder: int) -> None:
        """The folder of the log files is another one now, open as ``folder``."""

    def drain(self) -> None:
        """Write what threads hold back."""
        for stream in self._streams:
            stream.release()

    def give_to(self, uid: int, gid: int) -> None:
        """This process is about to become another user."""

    def _take_over(self, stdout: _Sink, stderr: _Sink, encoding: str = "") -> None:
        before = sys.stdout, sys.stderr
        for stream in filter(None, before):
            with suppress(OSError):
                stream.flush()
        self._streams = (_Lines(stdout, 1, "<stdout>"), _Lines(stderr, 2, "<stderr>"))
        encodings = [encoding or (stream.encoding if stream else "utf-8") for stream in before]
        sys.stdout, sys.stderr = map(_text, self._streams, encodings)
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        atexit.register(self.drain)
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        for stream in self._streams:
            stream.after_fork()


class FileOutput(Output):
    """In the background: descriptors 1 and 2, ``sys.stdout`` and ``sys.stderr`` are a log file."""

    def __init__(self, folder: int, source: str, limits: Limits) -> None:
        self._log = LogFile(folder, source, limits, stand_ins=(1, 2))
        self._take_over(self._log, self._log, encoding="utf-8")

    @property
    def tick(self) -> int:
        """Always: files may be renamed or removed."""
        return _TICK

    def become(self, source: str) -> None:
        """As `Output.become`."""
        self._log.become(source)

    def look_after(self) -> None:
        """Also what was written past us (`LogFile.look_after`), and where logrotate renamed it."""
        super().look_after()
        self._log.look_after()

    def move_to(self, folder: int) -> None:
        """As `Output.move_to`."""
        self._log.move_to(folder)

    def give_to(self, uid: int, gid: int) -> None:
        """As `Output.give_to`."""
        self._log.give_to(uid, gid)

    def _after_fork(self) -> None:
        self._log.after_fork()
        super()._after_fork()


class _Sink(Protocol):
    """Where whole lines go, and parts of lines."""

    def append(
        self, data: bytes, author: Hashable = None, goes_on: bool = False, stream: int = UNKNOWN
    ) -> None:
        """As `LogFile.append`. Never raises OSError."""


class _Inherited:
    """A descriptor that this process was started with. What cannot be written to it is lost."""

    def __init__(self, number: int) -> None:
        self._number = number

    def append(
        self,
        data: bytes,
        author: Hashable = None,  # noqa: ARG002
        goes_on: bool = False,  # noqa: ARG002
        stream: int = UNKNOWN,  # noqa: ARG002
    ) -> None:
        """Write ``data``."""
        with suppress(OSError):
            while data:
                try:
                    data = data[os.write(self._number, data) :]
                except BlockingIOError:  # another process with this pipe set O_NONBLOCK
                    if not self._caught_up():
                        return

    def _caught_up(self) -> bool:
        """Wait for the reader, but not for long."""
        writable = select.poll()
        writable.register(self._number, select.POLLOUT)
        return bool(writable.poll(_TICK))


class _Lines(io.BufferedIOBase):
    """The binary layer of a standard stream: passes on whole lines, each thread's its own."""

    def __init__(self, log: _Sink, number: int, name: str) -> None:
        self.name = name
        self.mode = "wb"
        self._log = log
        self._number = number
        self.after_fork()

    def after_fork(self) -> None:
        """What was held back is the parent's to write."""
        self._mutex = threading.RLock()
        self._held: dict[int, bytes] = {}
        """By thread: the beginning of a line."""
        self._begun: set[int] = set()
        """Threads whose line is partly in the file."""
        self._seen: dict[int, int] = {}
        """Bytes that each thread held back when that was last looked at."""

    @property
    def holds(self) -> bool:
        """Whether there is the beginning of a line that is not passed on."""
        return bool(self._held)

    def write(self, data: ReadableBuffer) -> int:
        """Pass on the lines that are complete now."""
        new = bytes(data)
        thread = get_ident()
        with self._mutex:
            held = self._held.pop(thread, None)
            text = held + new if held else new
            cut = text.rfind(b"\n") + 1
            if len(text) - cut > LONGEST_HELD:
                cut = len(text)
            if cut:
                self._pass_on(thread, text[:cut])
            if cut < len(text):
                self._held[thread] = text[cut:]
        return len(new)

    def flush(self) -> None:
        """Pass on what this thread holds back."""
        if self._held:
            self._release(get_ident())

    def release(self, only_stale: bool = False) -> None:
        """Pass on what threads hold back; ``only_stale``: if it was there last time already."""
        for thread, text in list(self._held.items()):
            if not only_stale or self._seen.get(thread) == len(text):
                self._release(thread)
        self._seen = {thread: len(text) for thread, text in list(self._held.items())}
        if self._begun:
            self._begun &= {thread.ident or 0 for thread in threading.enumerate()}

    def close(self) -> None:
        """Stay open: an app that closes ``sys.stdout`` would lose what comes later."""
        self.flush()

    def fileno(self) -> int:
        """1 or 2."""
        return self._number

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal, for apps that colour what they print."""
        return os.isatty(self._number)

    def _release(self, thread: int) -> None:
        with self._mutex:
            text = self._held.pop(thread, None)
            if text:
                self._pass_on(thread, text)

    def _pass_on(self, thread: int, text: bytes) -> None:
        stream = OUT if self._number == 1 else ERR
        self._log.append(text, (self._number, thread), thread in self._begun, stream)
        if text.endswith(b"\n"):
            self._begun.discard(thread)
        else:
            self._begun.add(thread)


def _text(lines: _Lines, encoding: str) -> io.TextIOWrapper:
    """The text layer; keeps nothing back by itself."""
    return io.TextIOWrapper(lines, encoding, "backslashreplace", write_through=True)
