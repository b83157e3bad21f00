"""The commands about log files: ``logs``, ``flush``, ``reopen``.

They read and empty the files themselves, so they work for a cluster that has
stopped, or hangs. Only ``reopen`` asks it for something.
"""

import os
import re
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from launcher.cli.asking.following import LOOK_EVERY, tail
from launcher.cli.asking.logged import Entry, Watched, chosen_logs, home_of, why_none
from launcher.cli.asking.selection import for_each, report
from launcher.cli.colours import of_source
from launcher.cli.options import cluster_names, version
from launcher.config.readers import MAX_WORKERS
from launcher.control.client import call
from launcher.errors import LauncherError, NothingToDo, UsageError
from launcher.logs.cleaning import harmless_json, printable
from launcher.logs.folder import file_name, require_files
from launcher.logs.rotation import empty
from launcher.logs.times import ERR, OUT, UNKNOWN
from launcher.logs.wanted import Wanted, read_since
from launcher.state.home import Home

__all__ = ["flush", "logs", "reopen"]

REOPENED_WITHIN = 5.0

LAST = 15
MOST = 10_000_000
"""Lines: what is shown where neither -n nor --since says otherwise; and at most."""

STREAMS = {"out": OUT, "err": ERR}
_NAME_OF = {number: name for name, number in STREAMS.items()}


_names = click.argument("names", metavar="[NAME...|all]", nargs=-1, shell_complete=cluster_names)


@click.command(epilog="Example: python -m launcher logs web -n 100")
@_names
@click.option(
    "-n",
    "--lines",
    "count",
    metavar="N",
    type=click.IntRange(0, MOST),
    help=f"So many of the last lines.  [default: {LAST}; with --since: all]",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with the lines that come, until Ctrl-C.")
@click.option("-t", "--timestamps", is_flag=True, help="Each line with the time it was written.")
@click.option(
    "--only",
    "stream",
    type=click.Choice([*STREAMS]),
    help="What was written to standard output, or to standard error.",
)
@click.option(
    "--slot", metavar="N", type=click.IntRange(0, MAX_WORKERS - 1), help="Of the worker there."
)
@click.option("--since", metavar="10m|TIME", help="Not older: 90s, 2h, 1d; 14:30; a date.")
@click.option("--grep", metavar="PATTERN", help="With a match of this regular expression.")
@click.option("--json", "as_json", is_flag=True, help="Each line as a JSON object.")
@version
def logs(
    names: tuple[str, ...],
    count: int | None,
    follow: bool,
    timestamps: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Show what clusters have logged: all processes' lines, merged by time.

    Without a NAME: of all clusters. Each line begins with its slot and name;
    those of a pool (which loads the app) and the primary with that word.
    Control characters are shown as escapes. Reads the files, so it also works
    for clusters that have stopped.

    What C code or a child process writes past Python is of neither stream
    alone: it is shown with --only out and with --only err.
    """
    wanted = _wanted(**asked)
    if count is None:
        count = MOST if asked["since"] else LAST
    show = _show_json if as_json else Table(timestamps).show
    try:
        with home_of(names) as home:
            watched = Watched(home, names, wanted)
            show(watched.last(count, unfinished=not follow))
            if follow:
                tail(watched.more, show)
    except NothingToDo:
        if not as_json:  # a line that is none has no place among objects
            raise
    return 0


@click.command(epilog="Example: python -m launcher flush web")
@_names
@version
def flush(names: tuple[str, ...]) -> int:
    """Empty the log files of clusters, without a NAME of all.

    Those that are running go on logging to them.
    """
    with home_of(names) as home:
        chosen = chosen_logs(home, names)
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


@dataclass(slots=True)
class Table:
    """Prints lines for people: what comes from where, then the line."""

    timestamps: bool = False
    width: int = field(default=0, init=False)

    def show(self, entries: Sequence[Entry]) -> None:
        """Print them at once."""
        if entries:
            labels = [f"{entry.line.source}|{entry.name}" for entry in entries]
            self.width = max(self.width, *map(len, labels))
            click.echo("\n".join(map(self._row, labels, entries)))

    def _row(self, label: str, entry: Entry) -> str:
        head = click.style(f"{label.ljust(self.width)} |", fg=of_source(entry.line.source))
        text = printable(entry.line.text.expandtabs())
        return f"{head} {_stamp(entry.when)} {text}" if self.timestamps else f"{head} {text}"


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when).isoformat(" ", "milliseconds")


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
        "stream": _NAME_OF.get(entry.line.stream),
        "line": entry.line.text,
    }


def _wanted(stream: str | None, slot: int | None, since: str | None, grep: str | None) -> Wanted:
    """What the options ask for. UsageError for what they cannot mean."""
    try:
        earliest = read_since(since, datetime.now().astimezone()) if since else 0.0
    except ValueError as error:
        raise UsageError(f"--since: {since!r} {error}") from None
    try:
        pattern = re.compile(grep) if grep is not None else None
    except re.error as error:
        raise UsageError(f"--grep: {grep!r} is no regular expression: {error}") from None
    source = None if slot is None else str(slot)
    return Wanted(STREAMS[stream] if stream else UNKNOWN, source, earliest, pattern)


def _flush(home: Home, name: str) -> str | LauncherError:
    try:
        with home.logs(name) as folder:
            if folder is None:
                return LauncherError(why_none(home, [name]))
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
