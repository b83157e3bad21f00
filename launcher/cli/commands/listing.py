"""``list``: every cluster of this user, in a table or as JSON. ``ping``: whether one serves."""

from collections.abc import Sequence
from contextlib import closing

import click

from launcher.cli.asking.facts import Facts, exits_as_json, facts_of, status_of
from launcher.cli.asking.parallel import in_parallel
from launcher.cli.colours import OF_STATE
from launcher.cli.options import cluster_names, version
from launcher.cli.text import (
    Look,
    Style,
    printable,
    show_count,
    show_duration,
    show_rate,
    show_size,
    table,
    width,
)
from launcher.cli.threads import waits
from launcher.control.client import no_such_cluster
from launcher.errors import LauncherError
from launcher.logs.cleaning import harmless_json
from launcher.state.home import Home, require_name

__all__ = ["list_clusters", "ping"]

HEADINGS = (
    *("name", "status", "workers", "pid", "uptime", "crash/reload", "cpu", "memory", "req/s"),
)
ALWAYS = 3
"""Columns that are shown however narrow the terminal is; of the others the last go first."""

SERVING = ("online", "reloading")
"""In a reload the old workers serve until the new ones do."""


@click.command("list", epilog="Example: python -m launcher list --json")
@click.option("--json", "as_json", is_flag=True, help="Everything, as a JSON array.")
@click.option("-v", "--verbose", is_flag=True, help="With a row for each worker.")
@version
def list_clusters(as_json: bool, verbose: bool) -> int:
    """Show all clusters of this user (also: ls, status).

    Workers are ready/wanted, crash/reload how often workers were replaced for
    that; cpu and memory are those of the workers together; req/s is the average
    of the last seconds. Where requests wait for a thread, a line below says so.
    With -v a row for each worker begins with its slot and #id.
    """
    home = Home.open_existing()
    if home is None:
        click.echo("[]" if as_json else _nothing())
        return 0
    with closing(home):
        names = home.names()
        if as_json:
            found = in_parallel(lambda name: status_of(home, name), names)
            told = [
                status | {"last_exits": exits_as_json(status["last_exits"])}
                for status in found
                if status is not None
            ]
            click.echo(harmless_json(told, indent=2))
            return 0
        facts = [each for each in in_parallel(lambda name: facts_of(home, name), names) if each]
    click.echo("\n".join(_lines(facts, verbose)) if facts else _nothing())
    return 0


@click.command(epilog="Example: python -m launcher ping web")
@click.argument("name", metavar="NAME", shell_complete=cluster_names)
@version
def ping(name: str) -> int:
    """Exit with 0 if a cluster serves, else with 1: for scripts and probes.

    It does while it is online or reloading.
    """
    home = Home.open_existing()
    if home is None:
        raise no_such_cluster(require_name(name), [])
    with home:
        status = status_of(home, require_name(name))
        known = home.names()
    if status is None:
        raise no_such_cluster(name, known)
    state = printable(status["status"])
    if state not in SERVING:
        raise LauncherError(": ".join(filter(None, (f"{name} is {state}", status["error"]))))
    click.echo(f"{name} is {state}")
    return 0


def _nothing() -> str:
    return "no clusters; start one: python -m launcher start"


def _lines(clusters: Sequence[Facts], verbose: bool) -> list[str]:
    """The table, and below a cluster's rows what is wrong with it and what waits."""
    groups = [[_row(facts), *(_worker_rows(facts) if verbose else [])] for facts in clusters]
    states = [row[1] for group in groups for row in group]
    look = Look(width(), _styled(states))
    rows = _fitting([[*HEADINGS], *(row for group in groups for row in group)], look)
    heading, *lines = table(rows[0], rows[1:], 2, look)
    shown = [heading]
    for facts, group in zip(clusters, groups, strict=True):
        shown += lines[: len(group)] + _notes(facts)
        del lines[: len(group)]
    return shown


def _fitting(rows: list[list[str]], look: Look) -> list[list[str]]:
    """The rows with as many columns as there is room for beside a short name."""
    _, *others = zip(*rows, strict=True)
    widths = [len(HEADINGS[0]), *(len(look.gap) + max(map(len, column)) for column in others)]
    count = len(widths)
    while count > ALWAYS and sum(widths[:count]) > look.columns:
        count -= 1
    return [row[:count] for row in rows]


def _styled(states: Sequence[str]) -> Style:
    def style(row: int, column: int, text: str) -> str:
        if row == 0:
            return click.style(text, bold=True)
        if HEADINGS[column] == "status":
            return click.style(text, fg=OF_STATE.get(states[row - 1]))
        return click.style(text, dim=True) if states[row - 1] == "stopped" else text

    return style


def _notes(facts: Facts) -> list[str]:
    notes = []
    if error := facts.status["error"]:
        notes.append(click.style(f"  error: {printable(error)}", fg="red"))
    if waiting := waits(facts.status):
        notes.append(click.style(f"  {waiting}", fg="yellow"))
    return notes


def _worker_rows(facts: Facts) -> list[list[str]]:
    rows = []
    for worker in facts.status["workers"]:
        there = worker["pid"] is not None
        rows.append(
            [
                f"  {worker['slot']} #{worker['id']}" if there else f"  {worker['slot']}",
                printable(worker["status"]),
                "",
                str(worker["pid"]) if there else "-",
                show_duration(worker["uptime"]),
                "",
                f"{worker['cpu']:.0f}%",
                show_size(worker["rss"]),
                show_rate(facts.worker_rates.get(str(worker["id"]), 0.0)),
            ]
        )
    return rows


def _row(facts: Facts) -> list[str]:
    status = facts.status
    workers, restarts = status["workers"], status["restarts"]
    figures = ["-"] * 5
    if facts.answered:
        figures = [
            show_duration(status["uptime"]),
            f"{show_count(restarts['crash'])}/{show_count(restarts['reload'])}",
            f"{sum(worker['cpu'] for worker in workers):.0f}%",
            show_size(sum(worker["rss"] for worker in workers)),
            show_rate(facts.requests_per_second),
        ]
    names = [printable(status["name"]), printable(status["status"])]
    ready = f"{facts.ready}/{status['workers_wanted']}"
    return [*names, ready, str(status["pid"] or "-"), *figures]
