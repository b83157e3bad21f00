"""``list``: every cluster of this user, in a table or as JSON."""

from collections.abc import Sequence
from contextlib import closing

import click

from launcher.cli.asking.facts import Facts, facts_of, status_of
from launcher.cli.asking.parallel import in_parallel
from launcher.cli.colours import OF_STATE
from launcher.cli.options import version
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
from launcher.logs.cleaning import harmless_json
from launcher.state.home import Home

__all__ = ["list_clusters"]

HEADINGS = ("name", "status", "workers", "pid", "uptime", "restarts", "cpu", "memory", "req/s")
ALWAYS = 3
"""Columns that are shown however narrow the terminal is; of the others the last go first."""


@click.command("list", epilog="Example: python -m launcher list --json")
@click.option("--json", "as_json", is_flag=True, help="Everything, as a JSON array.")
@version
def list_clusters(as_json: bool) -> int:
    """Show all clusters of this user (also: ls, status).

    Workers are ready/wanted, restarts crashed/reloaded; cpu and memory are
    those of the workers together; req/s is the average of the last seconds.
    Where requests wait for a thread, a line below says so.
    """
    home = Home.open_existing()
    if home is None:
        click.echo("[]" if as_json else _nothing())
        return 0
    with closing(home):
        names = home.names()
        if as_json:
            found = in_parallel(lambda name: status_of(home, name), names)
            click.echo(harmless_json([status for status in found if status is not None], indent=2))
            return 0
        facts = [each for each in in_parallel(lambda name: facts_of(home, name), names) if each]
    click.echo("\n".join(_lines(facts)) if facts else _nothing())
    return 0


def _nothing() -> str:
    return "no clusters; start one: python -m launcher start"


def _lines(clusters: Sequence[Facts]) -> list[str]:
    """The table, and below a cluster's row what is wrong with it and what waits."""
    look = Look(width(), _styled(clusters))
    rows = _fitting([[*HEADINGS], *map(_row, clusters)], look)
    heading, *lines = table(rows[0], rows[1:], 2, look)
    return [heading, *map(_with_notes, lines, clusters)]


def _fitting(rows: list[list[str]], look: Look) -> list[list[str]]:
    """The rows with as many columns as there is room for beside a short name."""
    _, *others = zip(*rows, strict=True)
    widths = [len(HEADINGS[0]), *(len(look.gap) + max(map(len, column)) for column in others)]
    count = len(widths)
    while count > ALWAYS and sum(widths[:count]) > look.columns:
        count -= 1
    return [row[:count] for row in rows]


def _styled(clusters: Sequence[Facts]) -> Style:
    def style(row: int, column: int, text: str) -> str:
        if row == 0:
            return click.style(text, bold=True)
        status = clusters[row - 1].status["status"]
        if HEADINGS[column] == "status":
            return click.style(text, fg=OF_STATE.get(status))
        return click.style(text, dim=True) if status == "stopped" else text

    return style


def _with_notes(line: str, facts: Facts) -> str:
    notes = [line]
    if error := facts.status["error"]:
        notes.append(click.style(f"  error: {printable(error)}", fg="red"))
    if waiting := waits(facts.status):
        notes.append(click.style(f"  {waiting}", fg="yellow"))
    return "\n".join(notes)


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
