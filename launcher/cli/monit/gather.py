"""What the screen shows, fetched where it may take as long as it likes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any

from launcher.errors import LauncherError
from launcher.logs.reading import Line, LogReader
from launcher.state.home import Home

__all__ = ["Errands", "Logs", "first_choice"]

MOST_LINES = 200
"""Log lines that are kept; no screen is higher."""


class Errands:
    """Does things in threads of their own and brings home what came of them.

    A thread that gets no answer ends at its deadline, or with the process.
    ``fd`` is readable while there is something to `collect`.
    """

    def __init__(self) -> None:
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def run(self, errand: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have ``then`` called by `collect` with what ``errand`` gives, or its LauncherError."""

        def work() -> None:
            try:
                result = errand()
            except (LauncherError, OSError) as error:
                result = error
            self._done.put(lambda: then(result))
            os.eventfd_write(self.fd, 1)

        Thread(target=work, daemon=True).start()

    def collect(self) -> None:
        """Hand over everything that has come, in this thread."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
        while not self._done.empty():
            self._done.get()()


class Logs:
    """The last log lines of one cluster. For one thread at a time."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self._name = name
        self._reader: LogReader | None = None
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)

    def read(self) -> list[Line]:
        """The last lines there are now. LauncherError if there are no files."""
        with self._home.logs(self._name) as folder:
            if folder is None:
                raise LauncherError("no log files: what it logs is shown where it runs")
            if self._reader is None:
                self._reader = LogReader()
                self._lines.extend(self._reader.last(folder, MOST_LINES, unfinished=False))
            else:
                new = self._reader.more(folder)
                self._lines.extend(sorted(new, key=attrgetter("when")))
        return list(self._lines)


def first_choice(home: Home | None, names: list[str]) -> str:
    """The cluster to begin with: the first that runs, else the first there is."""
    for name in names:
        with suppress(LauncherError):
            entry = home.entry(name) if home else None
            if entry and entry.running:
                return name
    return names[0] if names else ""
