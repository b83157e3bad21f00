"""What the screen shows, fetched where it may take as long as it likes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any

from launcher.cli.status import Facts, activity_of
from launcher.errors import LauncherError
from launcher.home import Home
from launcher.logs.reading import Line, LogReader

__all__ = ["Errands", "Logs", "wanted_names"]

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


def wanted_names(home: Home | None, only: str | None) -> list[str]:
    """The clusters to be shown."""
    names = home.names() if home else []
    return [name for name in names if only in (None, name)]


def look(home: Home, name: str) -> Facts | None:
    """A cluster as it is now; never raises for what is wrong with it."""
    return activity_of(home, name)


class Logs:
    """The last log lines of one cluster."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self._name = name
        self._reader: LogReader | None = None
        self.lines: deque[Line] = deque(maxlen=MOST_LINES)
        self.problem = ""

    def refresh(self) -> None:
        """Read what has come."""
        try:
            with self._home.logs(self._name) as folder:
                if folder is None:
                    self.problem = "no log files: what it logs is shown where it runs"
                    return
                self.problem = ""
                if self._reader is None:
                    self._reader = LogReader()
                    self.lines.extend(self._reader.last(folder, MOST_LINES, unfinished=False))
                else:
                    new = self._reader.more(folder)
                    self.lines.extend(sorted(new, key=attrgetter("when")))
        except (LauncherError, OSError) as error:
            self.problem = str(error)

    def close(self) -> None:
        """Close the files."""
        if self._reader:
            self._reader.close()
            self._reader = None
