"""The commands about clusters that run already: ``list`` and ``stop``."""

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click

from launcher.cli.parallel import in_parallel
from launcher.cli.root import version
from launcher.cli.status import status_of
from launcher.cli.text import (
    complain,
    printable,
    show_count,
    show_duration,
    show_size,
    table,
)
from launcher.control.client import NotRunning, ask, no_such_cluster
from launcher.errors import LauncherError, UsageError
from launcher.home import Home, require_name
from launcher.settings import MAX_SECONDS

__all__ = ["list_clusters", "stop"]

ACKNOWLEDGED_WITHIN = 5.0
"""Seconds a primary gets to say that it will stop; the stopping has its own deadline."""

MAX_DEADLINE = 2 * MAX_SECONDS
"""Longer than any graceful timeout with its margin: a bound on what a reply makes us wait."""

HEADINGS = ("name", "status", "workers", "pid", "uptime", "restarts", "cpu", "memory", "requests")


@click.command("list", epilog="Example: python -m launcher list --json")
@click.option("--json", "as_json", is_flag=True, help="Everything, as a JSON array.")
@version
def list_clusters(as_json: bool) -> int:
    """Show all clusters of this user (also: ls, status).

    Workers are ready/wanted, restarts crashed/reloaded; cpu and memory are
    those of the workers together.
    """
    clusters = _all_clusters()
    if as_json:
        click.echo(_harmless_json(clusters))
    elif clusters:
        click.echo("\n".join(_lines(clusters)))
    else:
        click.echo("no clusters; start one: python -m launcher")
    return 0


@click.command(epilog="Example: python -m launcher stop web")
@click.argument("names", metavar="NAME...|all", nargs=-1, required=True)
@version
def stop(names: tuple[str, ...]) -> int:
    """Stop clusters: take no more connections, finish the requests, end.

    Returns when they are gone. With several names, each is tried.
    """
    home = Home.open_existing()
    if home is None:
        return _report([no_such_cluster(name, []) for name in _choose(names, running=[])])
    with closing(home):
        running = [name for name in home.names() if _may_run(home, name)]
        return _report(in_parallel(lambda name: _stop_one(home, name), _choose(names, running)))


def _all_clusters() -> list[dict[str, Any]]:
    home = Home.open_existing()
    if home is None:
        return []
    with closing(home):
        found = in_parallel(lambda name: status_of(home, name), home.names())
    return [status for status in found if status is not None]


def _harmless_json(value: object) -> str:
    """JSON escapes every control character but DEL by itself."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def _lines(clusters: Sequence[dict[str, Any]]) -> list[str]:
    """The table, and below a cluster's row what is wrong with it."""
    heading, *rows = table(HEADINGS, [_row(status) for status in clusters], left=2)
    return [heading, *map(_with_error, rows, clusters)]


def _with_error(row: str, status: dict[str, Any]) -> str:
    return f"{row}\n  error: {printable(status['error'])}" if status["error"] else row


def _row(status: dict[str, Any]) -> list[str]:
    workers, restarts = status["workers"], status["restarts"]
    ready = sum(worker["status"] == "online" for worker in workers)
    cells = [f"{ready}/{status['workers_wanted']}"]
    if status["pid"] is None:
        cells += ["-"] * 6
    else:
        cells += [
            str(status["pid"]),
            show_duration(status["uptime"]),
            f"{restarts['crash']}/{restarts['reload']}",
            f"{sum(worker['cpu'] for worker in workers):.0f}%",
            show_size(sum(worker["rss"] for worker in workers)),
            show_count(status["requests"]),
        ]
    return [printable(status["name"]), printable(status["status"]), *cells]


def _choose(names: Sequence[str], running: list[str]) -> list[str]:
    """The clusters meant, each once; UsageError for what cannot be a name."""
    if "all" not in names:
        return list(dict.fromkeys(map(require_name, names)))
    if len(names) > 1:
        raise UsageError("'all' stands alone: it means every running cluster")
    if not running:
        raise LauncherError("no cluster is running: nothing to do")
    return running


def _may_run(home: Home, name: str) -> bool:
    """Whether ``all`` means this one too: also if its folder is unsafe, to have that told."""
    try:
        entry = home.entry(name)
    except LauncherError:
        return True
    return entry is not None and entry.running


def _stop_one(home: Home, name: str) -> str | LauncherError:
    """Stop one cluster and see it gone; what to tell, or why not."""
    try:
        with ask(home, name, "stop", timeout=ACKNOWLEDGED_WITHIN) as conversation:
            deadline = _deadline(name, conversation.result)
            if not conversation.wait_for_exit(deadline):
                who = f"cluster {name!r} (pid {conversation.process.pid})"
                return LauncherError(f"{who} has not ended within {deadline:g} s")
    except NotRunning as error:
        return LauncherError(f"{error}: nothing to do")
    except LauncherError as error:
        return error
    return f"stopped {name}"


def _deadline(name: str, result: Any) -> float:
    """The seconds a primary says its end takes at most: what it finishes, and a margin."""
    match result:
        case {"deadline": int(seconds) | float(seconds)} if 0 <= seconds <= MAX_DEADLINE:
            return float(seconds)
    raise LauncherError(f"cluster {name!r} is of another version: it gave no deadline")


def _report(outcomes: Sequence[str | LauncherError]) -> int:
    """Print every outcome; 1 if any is an error."""
    for outcome in outcomes:
        if isinstance(outcome, LauncherError):
            complain(str(outcome))
        else:
            click.echo(outcome)
    return int(any(isinstance(outcome, LauncherError) for outcome in outcomes))
