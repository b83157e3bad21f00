"""``events``: what has happened to clusters. Reads the files, so also to those that are stopped."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

import click

from launcher.cli.asking.following import tail
from launcher.cli.asking.logged import Troubles, chosen_logs, home_of
from launcher.cli.options import cluster_names, version
from launcher.errors import NothingToDo
from launcher.logs.cleaning import harmless_json, printable
from launcher.state.event_log import EventReader
from launcher.state.home import Home

__all__ = ["events"]

LAST = 15
MOST = 100_000

Events = list[Mapping[str, Any]]


@click.command(epilog="Example: python -m launcher events web -n 50")
@click.argument("names", metavar="[NAME...|all]", nargs=-1, shell_complete=cluster_names)
@click.option(
    "-n",
    "--lines",
    "count",
    metavar="N",
    type=click.IntRange(0, MOST),
    default=LAST,
    help=f"So many of the last events.  [default: {LAST}]",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with the events that come, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Each event as a JSON object.")
@version
def events(names: tuple[str, ...], count: int, follow: bool, as_json: bool) -> int:
    """Show what has happened to clusters: workers, reloads, rescues, trouble.

    Without a NAME: to all clusters. Each line has the time, the name, and what
    happened. As JSON each has its kind (event), and its values by name: which
    worker, by which signal, how many connections.

    Events are kept, up to 2 MiB for each cluster, until it is deleted.
    """
    show = _show_json if as_json else _show
    with home_of(names) as home:
        histories = _Histories(home, names)
        found = histories.last(count)
        if not (found or follow or as_json or count == 0):
            raise NothingToDo("nothing has happened yet")
        show(found)
        if follow:
            tail(histories.more, show)
    return 0


class _Histories:
    """The events of the clusters that are meant, by time."""

    def __init__(self, home: Home, names: tuple[str, ...]) -> None:
        self._home = home
        self._names = names
        self._readers: dict[str, EventReader] = {}
        self._troubles = Troubles(names)

    def last(self, count: int) -> Events:
        """The last events of all. LauncherError if a name is no cluster's."""
        chosen = chosen_logs(self._home, self._names)
        found = _by_time(self._read(name, lambda r, f: r.last(f, count)) for name in chosen)
        return found[-count:] if count else []

    def more(self) -> Events:
        """Those that have come since; also of clusters that were not there then."""
        everything = self._names in ((), ("all",))
        names = self._home.names() if everything else self._names
        return _by_time(self._read(name, EventReader.more) for name in names)

    def _read(self, name: str, read: Callable[[EventReader, int], Events]) -> Events:
        with self._troubles.told_once(name), self._home.folder(name) as folder:
            if folder is not None:
                return read(self._readers.setdefault(name, EventReader()), folder)
        return []


def _by_time(found: Iterable[Events]) -> Events:
    """Those of one cluster stay in their order, also where its clock was set back."""
    return [*heapq.merge(*found, key=itemgetter("ts"))]


def _show(found: Events) -> None:
    for event in found:
        click.echo(f"{_stamp(event['ts'])} {printable(event['name'])} | {printable(event['text'])}")


def _stamp(ts: str) -> str:
    """The time in this place, to the second; as it is if it is none."""
    try:
        when = datetime.fromisoformat(ts).astimezone()
    except (ValueError, OverflowError):
        return printable(ts)
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _show_json(found: Events) -> None:
    for event in found:
        click.echo(harmless_json(event))
