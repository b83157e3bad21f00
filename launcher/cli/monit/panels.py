"""What stands below the table: the selected cluster, its running requests, its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from launcher.cli.asking.facts import Facts
from launcher.cli.colours import of_source
from launcher.cli.monit.lines import cropped, rule, show_time
from launcher.cli.monit.view import View
from launcher.cli.text import show_rate
from launcher.logs.cleaning import printable

__all__ = ["about", "log", "requests", "running", "side_by_side"]

OLD = 1.0
VERY_OLD = 10.0
"""Seconds from which a running request is worth a look, or a worry."""


def about(view: View, width: int) -> list[Text]:
    """What the selected cluster is, and how its requests per second have been."""
    if view.cluster is None:
        return []
    status, dot = view.cluster.status, f" {view.glyphs.dot} "
    parts = [status["app"], ", ".join(map(str, status["bind"])), status["policy"]]
    if status["generation"]:
        parts.append(f"generation {status['generation']}")
    line = Text(f" {printable(dot.join(filter(None, parts)))}", "bright_black")
    return [Text(), line, *_spark(view, width), Text()]


def _spark(view: View, width: int) -> list[Text]:
    shown = list(view.rates)[-max(2, width - 32) :]
    if len(shown) < 2:
        return []
    top, steps = max(*shown, 1.0), view.glyphs.spark
    marks = "".join(steps[min(len(steps) - 1, int(rate / top * len(steps)))] for rate in shown)
    peak = (f"  at most {show_rate(max(shown))}", "bright_black")
    return [Text.assemble((" requests/s ", "bright_black"), (marks, "green"), peak)]


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


def log(view: View, width: int, rows: int) -> list[Text]:
    """A heading and the last lines of the log that fit; nothing in less than two rows."""
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
        lines.append(Text.assemble((f" {line.source.rjust(label)} ", style), text))
    return lines


def side_by_side(
    view: View, active: Sequence[Mapping[str, Any]], width: int, rows: int
) -> list[Text]:
    """The running requests to the left of the log."""
    half = min(width // 2, 64)
    left = requests(view, active, half - 2, rows)
    right = log(view, width - half, rows)
    lines = []
    for index in range(max(len(left), len(right))):
        line = cropped(left[index] if index < len(left) else Text(), half - 2, view.glyphs)
        pad = " " * (half - cell_len(line.plain))
        lines.append(Text.assemble(line, pad, right[index] if index < len(right) else ""))
    return lines
