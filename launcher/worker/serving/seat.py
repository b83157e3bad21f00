"""What one serving thread is doing, and its time as leader."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from launcher import proc
from launcher.ipc.notes import Notepad
from launcher.worker.connection.connection import Connection


@dataclass(slots=True, eq=False)
class Job:
    """The request that a thread runs. Not a named tuple: that takes twice as long to make."""

    conn: Connection
    size: int
    """Its bytes that are still in the kernel."""
    request: Any
    """What has its ``method`` and ``path``."""


class Term:
    """One thread's time as leader. That thread alone writes here, also after it lost the lead."""

    __slots__ = ("seat", "since")

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.since = 0.0
        """When the leader took its current event; 0: it waits for one."""


class Seat:
    """The place of one thread in the crew. When the thread has left, another may have it."""

    __slots__ = (
        "_mark",
        "_schedstat",
        "answering",
        "answering_since",
        "bell",
        "ident",
        "index",
        "native_id",
        "pad",
        "resting_since",
        "running",
        "sending_last",
        "streaming",
        "term",
        "turn",
        "vacant",
    )

    def __init__(self, index: int, pad: Notepad) -> None:
        self.index = index
        self.vacant = True
        """Whether no thread has this seat, or is about to."""
        self.pad = pad
        self.bell = threading.Lock()
        """Held while the thread rests: released to call it."""
        self.bell.acquire()
        self.term: Term | None = None
        """The term that the thread was called for, or led last; None: it was called to leave."""
        self.turn = 0
        """How often the thread has begun or ceased to work: odd while it works."""
        self.running: Job | None = None
        self.sending_last: Job | None = None
        """The request that was overdue at the last tick although its response was announced.
        The response gets one more tick to be sent; if the request runs still, it is given up."""
        self.answering: Job | None = None
        """The request whose response had begun when the main thread last looked."""
        self.answering_since = 0
        """When the main thread saw that first; monotonic nanoseconds."""
        self.streaming: Job | None = None
        """The request that has turned out to be a stream."""
        self.resting_since = 0.0
        self.ident = 0
        """Python's identifier of the thread."""
        self.native_id = 0
        """The kernel's identifier of the thread."""
        self._schedstat = -1
        self._mark = 0, 0, 0

    def occupy(self) -> None:
        """The calling thread has this seat from now on."""
        self.ident = threading.get_ident()
        self.native_id = threading.get_native_id()
        self.pad.sign(self.native_id)
        with contextlib.suppress(OSError):  # hidden, or compiled out
            name = f"/proc/self/task/{self.native_id}/schedstat"
            self._schedstat = os.open(name, os.O_RDONLY | os.O_CLOEXEC)

    def vacate(self) -> None:
        """The calling thread leaves."""
        self.ident = 0
        schedstat, self._schedstat = self._schedstat, -1
        if schedstat >= 0:
            os.close(schedstat)
        self.vacant = True

    def begin_measuring(self) -> None:
        """The calling thread begins a request that is to be measured."""
        self._mark = time.thread_time_ns(), self.scheduled()[1], time.process_time_ns()

    def waited(self, took: int, enough: int) -> tuple[int, bool]:
        """Nanoseconds that this thread waited, of the ``took`` since `begin_measuring`.

        And whether it is certain that the thread did not wait for the interpreter: all threads
        together have left the interpreter unused for more than half of the time. Exact only
        above ``enough``: below that, the system calls are saved.
        """
        cpu, queued, of_all = self._mark
        left = took - (time.thread_time_ns() - cpu)
        if left <= enough:
            return max(0, left), True
        left -= self.scheduled()[1] - queued
        unused = took - (time.process_time_ns() - of_all)
        return max(0, left), unused > max(enough, took // 2)

    def runnable(self) -> bool:
        """Whether the thread runs, or could but for other threads on its core (proc(5))."""
        return proc.state(os.getpid(), self.native_id) == "R"

    def scheduled(self) -> tuple[int, int]:
        """Nanoseconds that the thread has run, and that it could have run but for other threads
        on its core (/proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst);
        zeros where the kernel does not tell. For any thread, while this one lives."""
        try:
            ran, queued, _ = os.pread(self._schedstat, 64, 0).split()
            return int(ran), int(queued)
        except (OSError, ValueError):
            return 0, 0
