"""The log files of the clusters that are meant, as one log."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from operator import attrgetter

from launcher.cli.text import complain
from launcher.control.client import no_such_cluster
from launcher.errors import LauncherError, NothingToDo
from launcher.logs.reading import Line, LogReader
from launcher.logs.wanted import EVERYTHING, Wanted
from launcher.state.home import Home, require_name

__all__ = ["Entry", "Troubles", "Watched", "chosen_logs", "home_of", "nothing_there", "why_none"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a cluster's log."""

    name: str
    line: Line

    @property
    def when(self) -> float:
        """Seconds since the epoch."""
        return self.line.when

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether it is to be shown."""
        return wanted.takes(self.when, self.line.source, self.line.stream, self.line.text)


class Troubles:
    """Folders that cannot be used: the others are to be shown all the same."""

    def __init__(self, names: Sequence[str]) -> None:
        """``names``: the clusters that are meant."""
        self._one_is_meant = len(names) == 1 and names[0] != "all"
        self._told: set[str] = set()

    @contextmanager
    def told_once(self, name: str) -> Iterator[None]:
        """Say what is wrong with a cluster's folder. LauncherError if no other cluster is meant."""
        try:
            yield
        except LauncherError as error:
            if self._one_is_meant:
                raise
            if name not in self._told:
                self._told.add(name)
                complain(str(error))


class Watched:
    """The logs of the clusters that are meant."""

    def __init__(self, home: Home, names: tuple[str, ...], wanted: Wanted = EVERYTHING) -> None:
        self._home = home
        self._names = names
        self._wanted = wanted
        self._readers: dict[str, LogReader] = {}
        self._held: list[Entry] = []
        self._troubles = Troubles(names)

    def last(self, count: int, unfinished: bool) -> list[Entry]:
        """The last lines. LauncherError if there are no log files at all."""
        chosen = chosen_logs(self._home, self._names)
        found = [
            self._read(name, lambda r, f: r.last(f, count, unfinished, self._wanted))
            for name in chosen
        ]
        if not self._readers:
            raise LauncherError(why_none(self._home, chosen))
        merged = list(heapq.merge(*found, key=attrgetter("when")))
        return merged[-count:] if count else []

    def more(self) -> list[Entry]:
        """The lines that have come, by time.

        Held back until the next time, for what was written meanwhile to a file
        that had been looked at already.
        """
        new = [entry for name in self._current() for entry in self._read(name, LogReader.more)]
        latest = max(map(attrgetter("when"), self._held), default=0.0)
        ready = self._held + [entry for entry in new if entry.when <= latest]
        self._held = [entry for entry in new if entry.when > latest]
        ready.sort(key=attrgetter("when"))
        return [entry for entry in ready if entry.is_wanted(self._wanted)]

    def _current(self) -> Sequence[str]:
        """Also clusters that were not there when we began."""
        everything = not self._names or self._names == ("all",)
        return self._home.names() if everything else self._names

    def _read(self, name: str, read: Callable[[LogReader, int], list[Line]]) -> list[Entry]:
        with self._troubles.told_once(name), self._home.logs(name) as folder:
            if folder is not None:
                reader = self._readers.setdefault(name, LogReader())
                return [Entry(name, line) for line in read(reader, folder)]
        return []


def chosen_logs(home: Home, names: Sequence[str]) -> list[str]:
    """The clusters meant, running or not; all of them when none is named."""
    known = home.names()
    if not names or tuple(names) == ("all",):
        if not known:
            raise nothing_there()
        return known
    for name in map(require_name, names):
        if name not in known:
            raise no_such_cluster(name, known)
    return list(dict.fromkeys(names))


def home_of(names: Sequence[str]) -> closing[Home]:
    """The state folder, open. LauncherError, about these names, if there is none."""
    home = Home.open_existing()
    if home is None:
        for name in names:
            raise no_such_cluster(require_name(name), []) if name != "all" else nothing_there()
        raise nothing_there()
    return closing(home)


def nothing_there() -> LauncherError:
    return NothingToDo("there is no cluster")


def why_none(home: Home, names: Sequence[str]) -> str:
    for name in names:
        entry = home.entry(name)
        if entry and entry.running:
            if entry.settings and entry.settings.get("log_to_files"):
                return f"the log folder of {name!r} was removed: python -m launcher reopen {name}"
            return f"cluster {name!r} runs in the foreground: what it logs is shown there"
    return f"no log files: {', '.join(names)}"
