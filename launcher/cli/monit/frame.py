"""A picture of the clusters: from what is known to lines for a screen of a given size.

Every line is one row, no wider than the screen. Whatever came from a file or a
socket goes through `printable` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from launcher.cli.asking.facts import Facts
from launcher.cli.colours import of_source
from launcher.cli.monit.layout import Want, share
from launcher.cli.monit.lines import counted, cropped, rule, show_time
from launcher.cli.monit.table import table, table_height
from launcher.cli.monit.view import View
from launcher.cli.text import show_rate
from launcher.logs.cleaning import printable

__all__ = ["frame"]


WIDE = 120
"""Columns from which requests and log stand side by side."""

HIGH = 30
"""Rows from which there is room for what is nice to have."""

LOW = 6
"""Rows below which there is room for the table only."""

MOST_HEIGHT = 1000
OLD = 1.0
VERY_OLD = 10.0
"""Seconds from which a running request is worth a look, or a worry."""


def frame(view: View, width: int, height: int | None) -> list[Text]:
    """The picture: exactly ``height`` rows, or as many as there are to be seen."""
    rows = MOST_HEIGHT if height is None else max(1, height)
    foot = _foot(view, width, rows) if rows > 1 else []
    lines = _body(view, width, rows - len(foot))
    if height is not None:
        lines = lines[: rows - len(foot)]
        lines += [Text()] * (rows - len(foot) - len(lines))
    return [cropped(line, width, view.glyphs) for line in lines + foot]


def _body(view: View, width: int, rows: int) -> list[Text]:
    head = [_title(view, width)] if rows >= LOW else []
    head += [Text()] if rows >= HIGH else []
    if view.cluster is None:
        return [*head, Text("  no clusters; start one: python -m launcher start")]
    about = _about(view, width) if rows >= HIGH else []
    running = _running(view.cluster)
    rows -= len(head) + len(about)
    requests, log = 1 + max(1, len(running)), 1 + max(1, len(view.lines))
    below = [Want(4, max(requests, log))] if width >= WIDE else [Want(3, requests), Want(4, log)]
    above, *others = share(rows, [Want(max(4, rows // 2), table_height(view, width)), *below])
    lines = [*head, *table(view, width, above), *about]
    if width >= WIDE:
        return lines + _side_by_side(view, running, width, others[0])
    return lines + _requests(view, running, width, others[0]) + _log(view, width, others[1])


# Head and foot


def _title(view: View, width: int) -> Text:
    clusters = [facts.status for facts in view.clusters]
    workers = sum(len(status["workers"]) for status in clusters)
    parts = [counted(len(clusters), "cluster"), counted(workers, "worker"), view.corner]
    right = f" {view.glyphs.dot} ".join(filter(None, parts))
    left = " launcher monit"
    room = width - len(left) - cell_len(right) - 1
    if room < 1:
        return Text(left, "bold")
    return Text.assemble((left, "bold"), " " * room, (right, "bright_black"))


def _foot(view: View, width: int, rows: int) -> list[Text]:
    lines = []
    if view.message and rows >= LOW:
        style = "bold red" if view.failed else "bold green"
        lines.append(Text(f" {printable(view.message)}", style))
    if view.live:
        keys = [("q", "quit"), ("r", "reload"), ("+ -", "scale"), (view.glyphs.arrows, "cluster")]
        line = Text()
        for key, meaning in keys:
            part = Text.assemble(" ", (f" {key} ", "reverse"), f" {meaning} ")
            if cell_len(line.plain) + cell_len(part.plain) <= width:
                line.append(part)
        lines.append(line)
    return lines


# What is below it


def _about(view: View, width: int) -> list[Text]:
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


def _running(facts: Facts) -> list[Mapping[str, Any]]:
    return list((facts.activity or {}).get("active", ()))


def _name(view: View) -> str:
    return printable(view.cluster.status["name"]) if view.cluster else ""


def _requests(
    view: View, running: Sequence[Mapping[str, Any]], width: int, rows: int
) -> list[Text]:
    if rows < 2:
        return []
    title = Text.assemble(("running requests", "bold"), f" of {_name(view)}")
    shown = running[: rows - 1]
    right = f"{len(shown)} of {len(running)}" if len(shown) < len(running) else str(len(running))
    lines = [rule(title, right, width, view.glyphs)]
    if not running:
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


def _log(view: View, width: int, rows: int) -> list[Text]:
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


def _side_by_side(
    view: View, running: Sequence[Mapping[str, Any]], width: int, rows: int
) -> list[Text]:
    half = min(width // 2, 64)
    left = _requests(view, running, half - 2, rows)
    right = _log(view, width - half, rows)
    lines = []
    for index in range(max(len(left), len(right))):
        line = cropped(left[index] if index < len(left) else Text(), half - 2, view.glyphs)
        pad = " " * (half - cell_len(line.plain))
        lines.append(Text.assemble(line, pad, right[index] if index < len(right) else ""))
    return lines
