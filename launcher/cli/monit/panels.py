"""What stands below the table: the selected cluster, its running requests, its log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from launcher.cli.asking.facts import Facts
from launcher.cli.colours import of_source
from launcher.cli.monit.graph import graph
from launcher.cli.monit.lines import cropped, rule, show_time
from launcher.cli.monit.view import View
from launcher.cli.text import show_rate
from launcher.logs.cleaning import printable

__all__ = ["about", "exits", "log", "requests", "running", "side_by_side"]

OLD = 1.0
VERY_OLD = 10.0
"""Seconds from which a running request is worth a look, or a worry."""


def about(view: View, width: int, graph_rows: int) -> list[Text]:
    """What the selected cluster is, and how its requests per second and their times have been."""
    if view.cluster is None:
        return []
    status, dot = view.cluster.status, f" {view.glyphs.dot} "
    parts = [status["app"], ", ".join(map(str, status["bind"])), status["policy"]]
    if status["generation"]:
        parts.append(f"generation {status['generation']}")
    line = Text(f" {printable(dot.join(filter(None, parts)))}", "bright_black")
    size = width, graph_rows
    return [
        *(Text(), line),
        *graph("requests/s", view.rates, show_rate, size, ("green", view.glyphs)),
        *graph("p99", view.times, show_time, size, ("cyan", view.glyphs)),
        Text(),
    ]


def exits(view: View, width: int, rows: int) -> list[Text]:
    """A heading and how the last worker of each slot ended, the latest first.

    Nothing in less than two rows, or where none has ended.
    """
    ended = list(view.cluster.status["last_exits"]) if view.cluster else []
    if rows < 2 or not ended:
        return []
    ended.sort(key=lambda each: -float(each["when"]))
    title = Text.assemble(("last exits", "bold"), f" of {_name(view)}")
    lines = [rule(title, "", width, view.glyphs)]
    for each in ended[: rows - 1]:
        how = each["signal"] or f"exit {'?' if each['code'] is None else each['code']}"
        place = f" {each['slot']:>2} #{each['id']}"
        told = f"  {_clock(each['when'])}  {printable(how)}, {printable(each['reason'])}"
        lines.append(Text.assemble((place, "bright_black"), told))
    return lines


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def running(facts: Facts) -> list[Mapping[str, Any]]:
    """The requests that run, as the cluster has told them."""
    return list((facts.activity or {}).get("active", ()))


def _name(view: View) -> str:
    return printable(view.cluster.status["name"]) if view.cluster else ""


def requests(view: View, active: Sequence[Mapping[str, Any]], width: int, rows: int) -> list[Text]:
    """A heading and as many of the running requests as fit; nothing in less than two rows."""
    if rows < 2:
        return []
    title = Text.assemble(("running requests", "bold"), f" of {_name(view)}")
    shown = active[: rows - 1]
    right = f"{len(shown)} of {len(active)}" if len(shown) < len(active) else str(len(active))
    lines = [rule(title, right, width, view.glyphs)]
    if not active:
        lines.append(Text("  none", "bright_black"))
    for each in shown:
        age = each["age"]
        style = "bold red" if age >= VERY_OLD else "yellow" if age >= OLD else ""
        lines.append(
            Text.assemble(
                (show_time(age).rjust(6), style),
                (f"  {each['slot']:>2} #{each['id']}  ", "bright_black"),
                printable(each["request"]),
            )
        )
    return lines


def log(view: View, width: int, rows: int, times: bool = False) -> list[Text]:
    """A heading and the last lines of the log that fit; nothing in less than two rows.

    ``times``: each line after the time it was written.
    """
    if rows < 2:
        return []
    title = Text.assemble(("log", "bold"), f" of {_name(view)}")
    lines = [rule(title, "", width, view.glyphs)]
    shown = list(view.lines)[-(rows - 1) :]
    if not shown:
        lines.append(Text(f"  {printable(view.log_problem or 'nothing yet')}", "bright_black"))
    label = max((len(line.source) for line in shown), default=0)
    for line in shown:
        style = of_source(line.source)
        text = printable(line.text.expandtabs())
        when = (f" {_clock(line.when)}", "bright_black") if times else ""
        lines.append(Text.assemble(when, (f" {line.source.rjust(label)} ", style), text))
    return lines


def side_by_side(
    view: View, active: Sequence[Mapping[str, Any]], width: int, rows: int
) -> list[Text]:
    """The running requests to the left of the log."""
    half = min(width // 2, 64)
    left = requests(view, active, half - 2, rows)
    right = log(view, width - half, rows, times=True)
    lines = []
    for index in range(max(len(left), len(right))):
        line = cropped(left[index] if index < len(left) else Text(), half - 2, view.glyphs)
        pad = " " * (half - cell_len(line.plain))
        lines.append(Text.assemble(line, pad, right[index] if index < len(right) else ""))
    return lines
