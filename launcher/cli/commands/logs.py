"""The commands about log files: ``logs``, ``flush``, ``reopen``.

They read and empty the files themselves, so they work for a cluster that has
stopped, or hangs. Only ``reopen`` asks it for something.
"""

import heapq
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import click

from launcher.cli.asking.selection import for_each, report
from launcher.cli.colours import of_source
from launcher.cli.options import cluster_names, version
from launcher.cli.text import complain
from launcher.control.client import call, no_such_cluster
from launcher.errors import LauncherError
from launcher.logs.cleaning import harmless_json, printable
from launcher.logs.folder import file_name, require_files
from launcher.logs.reading import Line, LogReader
from launcher.logs.rotation import empty
from launcher.state.home import Home, require_name

__all__ = ["flush", "logs", "reopen"]

LOOK_EVERY = 0.1
"""Seconds between looks at the files that are followed."""

REOPENED_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a cluster's log."""

    name: str
    line: Line

    @property
    def when(self) -> float:
        """Seconds since the epoch."""
        return self.line.when


_names = click.argument("names", metavar="[NAME...|all]", nargs=-1, shell_complete=cluster_names)


@click.command(epilog="Example: python -m launcher logs web -n 100")
@_names
@click.option(
    "-n",
    "--lines",
    "count",
    metavar="N",
    type=click.IntRange(0, 10_000_000),
    default=15,
    help="So many of the last lines.  [default: 15]",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with the lines that come, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Each line as a JSON object.")
@version
def logs(names: tuple[str, ...], count: int, follow: bool, as_json: bool) -> int:
    """Show what clusters have logged: all processes' lines, merged by time.

    Without a NAME: of all clusters. Each line begins with its slot and name;
    those of a pool (which loads the app) and the primary with that word.
    Control characters are shown as escapes. Reads the files, so it also works
    for clusters that have stopped.
    """
    with _home(names) as home:
        watched = Watched(home, names)
        show = _show_json if as_json else Table().show
        show(watched.last(count, unfinished=not follow))
        try:
            while follow:
                time.sleep(LOOK_EVERY)
                show(watched.more())
        except KeyboardInterrupt:
            pass
    return 0


@click.command(epilog="Example: python -m launcher flush web")
@_names
@version
def flush(names: tuple[str, ...]) -> int:
    """Empty the log files of clusters, without a NAME of all.

    Those that are running go on logging to them.
    """
    with _home(names) as home:
        chosen = _chosen(home, names)
        return report(chosen, [_flush(home, name) for name in chosen])


@click.command(epilog="Example: python -m launcher reopen web")
@_names
@version
def reopen(names: tuple[str, ...]) -> int:
    """Open log files anew after something else has renamed them, e.g. logrotate.

    Returns when no process writes to the old ones any more. The same as
    sending SIGUSR1 to the primary. Not needed for the rotation built in.
    """
    return for_each(names or ("all",), _reopen)


class Watched:
    """The logs of the clusters that are meant."""

    def __init__(self, home: Home, names: tuple[str, ...]) -> None:
        self._home = home
        self._names = names
        self._readers: dict[str, LogReader] = {}
        self._held: list[Entry] = []
        self._told: set[str] = set()
        """Clusters whose folder cannot be used, which was said."""

    def last(self, count: int, unfinished: bool) -> list[Entry]:
        """The last lines. LauncherError if there are no log files at all."""
        chosen = _chosen(self._home, self._names)
        found = [self._read(name, lambda r, f: r.last(f, count, unfinished)) for name in chosen]
        if not self._readers:
            raise LauncherError(_why_none(self._home, chosen))
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
        return sorted(ready, key=attrgetter("when"))

    def _current(self) -> Sequence[str]:
        """Also clusters that were not there when we began."""
        everything = not self._names or self._names == ("all",)
        return self._home.names() if everything else self._names

    def _read(self, name: str, read: Callable[[LogReader, int], list[Line]]) -> list[Entry]:
        try:
            with self._home.logs(name) as folder:
                if folder is None:
                    return []
                reader = self._readers.setdefault(name, LogReader())
                return [Entry(name, line) for line in read(reader, folder)]
        except LauncherError as error:  # of the folder; the others are to be shown all the same
            if len(self._names) == 1 and self._names != ("all",):
                raise
            if name not in self._told:
                self._told.add(name)
                complain(str(error))
            return []


@dataclass(slots=True)
class Table:
    """Prints lines for people: what comes from where, then the line."""

    width: int = 0

    def show(self, entries: Sequence[Entry]) -> None:
        """Print them at once."""
        if entries:
            labels = [f"{entry.line.source}|{entry.name}" for entry in entries]
            self.width = max(self.width, *map(len, labels))
            click.echo("\n".join(map(self._row, labels, entries)))

    def _row(self, label: str, entry: Entry) -> str:
        head = click.style(f"{label.ljust(self.width)} |", fg=of_source(entry.line.source))
        return f"{head} {printable(entry.line.text.expandtabs())}"


def _show_json(entries: Iterable[Entry]) -> None:
    lines = [harmless_json(_values(entry)) for entry in entries]
    if lines:
        click.echo("\n".join(lines))


def _values(entry: Entry) -> dict[str, Any]:
    source = entry.line.source
    when = datetime.fromtimestamp(entry.when, UTC).isoformat(timespec="milliseconds")
    return {
        "ts": when.replace("+00:00", "Z"),
        "name": entry.name,
        "slot": int(source) if source.isdecimal() else None,
        "source": "worker" if source.isdecimal() else source,
        "line": entry.line.text,
    }


def _home(names: Sequence[str]) -> closing[Home]:
    home = Home.open_existing()
    if home is None:
        for name in names:
            raise no_such_cluster(require_name(name), []) if name != "all" else _nothing()
        raise _nothing()
    return closing(home)


def _chosen(home: Home, names: Sequence[str]) -> list[str]:
    """The clusters meant, running or not; all of them when none is named."""
    known = home.names()
    if not names or tuple(names) == ("all",):
        if not known:
            raise _nothing()
        return known
    for name in map(require_name, names):
        if name not in known:
            raise no_such_cluster(name, known)
    return list(dict.fromkeys(names))


def _nothing() -> LauncherError:
    return LauncherError("there is no cluster: nothing to do")


def _why_none(home: Home, names: Sequence[str]) -> str:
    for name in names:
        entry = home.entry(name)
        if entry and entry.running:
            if entry.settings and entry.settings.get("log_to_files"):
                return f"the log folder of {name!r} was removed: python -m launcher reopen {name}"
            return f"cluster {name!r} runs in the foreground: what it logs is shown there"
    return f"no log files: {', '.join(names)}"


def _flush(home: Home, name: str) -> str | LauncherError:
    try:
        with home.logs(name) as folder:
            if folder is None:
                return LauncherError(_why_none(home, [name]))
            require_files(folder, os.path.join(home.path, name))
            empty(folder)
    except LauncherError as error:
        return error
    except OSError as error:
        return LauncherError(f"{name}: {error.filename}: {error.strerror}")
    return f"flushed {name}"


def _reopen(home: Home, name: str) -> str:
    with home.logs(name) as folder:
        if folder is not None:
            require_files(folder, os.path.join(home.path, name))
    deadline = time.monotonic() + REOPENED_WITHIN
    processes = call(home, name, "reopen", timeout=REOPENED_WITHIN)
    late = [(each["pid"], each["source"]) for each in processes]
    while late := [each for each in late if not _has_reopened(home, name, *each)]:
        if time.monotonic() > deadline:
            pids = ", ".join(str(pid) for pid, _ in late)
            raise LauncherError(
                f"{name}: not reopened within {REOPENED_WITHIN:g} s by pid {pids}:"
                f" try again, or python -m launcher restart {name}"
            )
        time.sleep(LOOK_EVERY / 10)
    return f"reopened the logs of {name}"


def _has_reopened(home: Home, name: str, pid: int, source: str) -> bool:
    """Whether a process's output is the file that has the name; true if it has none any more."""
    try:
        output = os.stat(f"/proc/{pid}/fd/1")
    except OSError:
        return True
    if not stat.S_ISREG(output.st_mode):
        return True
    with home.logs(name) as folder:
        if folder is None:  # it could not be made anew
            return False
        try:
            current = os.stat(file_name(source), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
    return os.path.samestat(output, current)
