"""A picture of the clusters: from what is known to lines for a screen of a given size.

Every line is one row, no wider than the screen. Whatever came from a file or a
socket goes through `printable` first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.cli.status import Facts
from launcher.cli.text import show_duration, show_rate, show_size
from launcher.logs.cleaning import printable
from launcher.logs.reading import Line
from launcher.monit.layout import Want, fitting, share, window

__all__ = ["ASCII", "UNICODE", "Glyphs", "View", "frame"]

COLOURS = {
    "online": "green",
    "launching": "yellow",
    "reloading": "yellow",
    "retiring": "yellow",
    "stopping": "yellow",
    "backoff": "red",
    "errored": "bold red",
    "stopped": "bright_black",
    "asking": "bright_black",
}
SOURCES = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green")

WIDE = 120
"""Columns from which requests and log stand side by side."""

HIGH = 30
"""Rows from which there is room for what is nice to have."""

LOW = 6
"""Rows below which there is room for the table only."""

MOST_HEIGHT = 1000
LONGEST_ERROR = 3
OLD = 1.0
VERY_OLD = 10.0
"""Seconds from which a running request is worth a look, or a worry."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What lines and marks are drawn with."""

    rule: str = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
    pointer: str = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
    branch: str = "\N{BOX DRAWINGS LIGHT VERTICAL AND RIGHT}"
    last: str = "\N{BOX DRAWINGS LIGHT UP AND RIGHT}"
    dot: str = "\N{MIDDLE DOT}"
    more: str = "\N{HORIZONTAL ELLIPSIS}"
    arrows: str = "\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}"
    spark: str = "▁▂▃▄▅▆▇█"


UNICODE = Glyphs()
ASCII = Glyphs("-", ">", "|", "`", "-", "~", "up/down", "_.:-=+*#")


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is to be seen."""

    clusters: Sequence[Facts] = ()
    selected: int = 0
    lines: Sequence[Line] = ()
    """Of the selected cluster's log."""
    log_problem: str = ""
    message: str = ""
    failed: bool = False
    """Whether the message is about something that went wrong."""
    rates: Sequence[float] = ()
    """Requests per second of the selected cluster, the latest last."""
    live: bool = True
    corner: str = ""
    glyphs: Glyphs = field(default=UNICODE)

    @property
    def cluster(self) -> Facts | None:
        """The selected one."""
        return self.clusters[self.selected] if self.clusters else None


def frame(view: View, width: int, height: int | None) -> list[Text]:
    """The picture: exactly ``height`` rows, or as many as there are to be seen."""
    rows = MOST_HEIGHT if height is None else max(1, height)
    foot = _foot(view, width, rows) if rows > 1 else []
    lines = _body(view, width, rows - len(foot))
    if height is not None:
        lines = lines[: rows - len(foot)]
        lines += [Text()] * (rows - len(foot) - len(lines))
    return [_cropped(line, width, view.glyphs) for line in lines + foot]


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
    table, *others = share(rows, [Want(max(4, rows // 2), _table_height(view, width)), *below])
    lines = [*head, *_table(view, width, table), *about]
    if width >= WIDE:
        return lines + _side_by_side(view, running, width, others[0])
    return lines + _requests(view, running, width, others[0]) + _log(view, width, others[1])


def _table_height(view: View, width: int) -> int:
    workers = len(view.cluster.status["workers"]) if view.cluster else 0
    return 1 + workers + sum(1 + len(_errors(facts, width)) for facts in view.clusters)


# Lines and their parts


def _cropped(line: Text, width: int, glyphs: Glyphs) -> Text:
    if cell_len(line.plain) > width:
        line = line.copy()
        line.right_crop(
            len(line.plain) - len(set_cell_size(line.plain, max(0, width - 1)).rstrip())
        )
        line.append(glyphs.more, "bright_black")
    return line


def _rule(title: Text, right: str, width: int, glyphs: Glyphs) -> Text:
    line = Text.assemble((f"{glyphs.rule} ", "bright_black"), title, " ")
    end = f" {right} {glyphs.rule}" if right else ""
    room = width - cell_len(line.plain) - cell_len(end)
    if room < 1:
        end, room = "", max(0, width - cell_len(line.plain))
    return line.append(glyphs.rule * room + end, "bright_black")


def _title(view: View, width: int) -> Text:
    clusters = [facts.status for facts in view.clusters]
    workers = sum(len(status["workers"]) for status in clusters)
    parts = [_counted(len(clusters), "cluster"), _counted(workers, "worker"), view.corner]
    right = f" {view.glyphs.dot} ".join(filter(None, parts))
    left = " launcher monit"
    room = width - len(left) - cell_len(right) - 1
    if room < 1:
        return Text(left, "bold")
    return Text.assemble((left, "bold"), " " * room, (right, "bright_black"))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


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


# The table of clusters and the selected one's workers

HEADINGS = (
    *("name", "status", "pid", "uptime", "restarts", "req/s", "p50", "p99", "busy", "conns"),
    *("cpu", "memory"),
)
LEAST = (8, 10, 7, 6, 8, 5, 5, 5, 4, 5, 4, 6)
"""Widths that keep the columns where they are while the figures change."""
RANKS = (0, 0, 8, 9, 5, 1, 3, 2, 4, 6, 4, 7)
"""Which column goes first when there is no room: the one with the highest."""
LEFT = 2
LONGEST_NAME = 24
WIDEST_GAP = 6


@dataclass(slots=True)
class _Row:
    cells: Sequence[str]
    styles: Mapping[int, str]
    style: str = ""


def _table(view: View, width: int, rows: int) -> list[Text]:
    """The heading and as many rows as fit, the selected cluster with its workers among them."""
    clusters = [
        _cluster_row(facts, index == view.selected, view.glyphs)
        for index, facts in enumerate(view.clusters)
    ]
    workers = _worker_rows(view.clusters[view.selected], view.glyphs)
    room = rows - 1
    errors = _shown_errors(view, width, room - len(workers))
    shown = window(len(clusters), view.selected, _cluster_room(room, len(clusters), len(workers)))
    left = room - len(shown) - sum(len(errors[index]) for index in shown)
    hidden = len(workers) - max(0, left - 1) if len(workers) > left else 0
    workers = workers[: len(workers) - hidden]
    heading = _Row(HEADINGS, {}, "bold bright_black")
    grid = _Grid.of([heading, *clusters, *workers], width)
    lines = [grid.line(heading)]
    for index in shown:
        lines += [grid.line(clusters[index]), *errors[index]]
        if index == view.selected:
            lines += [grid.line(row) for row in workers]
            if hidden and left > 0:
                more = f"  {view.glyphs.more} {_counted(hidden, 'more worker')}"
                lines.append(Text(more, "bright_black"))
    return lines


def _shown_errors(view: View, width: int, room: int) -> list[list[Text]]:
    """What is wrong with each cluster; where that is too much, with the selected one."""
    errors = [_errors(facts, width) for facts in view.clusters]
    if len(errors) + sum(map(len, errors)) > room:
        return [error if at == view.selected else [] for at, error in enumerate(errors)]
    return errors


def _cluster_room(room: int, clusters: int, workers: int) -> int:
    """Rows for clusters, so that some workers of the selected one can be seen too."""
    return max(1, min(clusters, max(room - workers, room // 2)))


@dataclass(frozen=True, slots=True)
class _Grid:
    """Which columns there are, how wide, and how far apart."""

    widths: Sequence[int]
    columns: Sequence[int]
    gap: int

    @classmethod
    def of(cls, rows: Sequence[_Row], width: int) -> Self:
        """The widest that fits; more between columns where there is more room."""
        cells = zip(*(row.cells for row in rows), strict=True)
        widths = [
            max(least, *map(cell_len, column)) for least, column in zip(LEAST, cells, strict=True)
        ]
        columns = fitting(widths, RANKS, width - 1, 1)
        spare = width - 1 - sum(widths[index] for index in columns)
        gap = spare // max(1, len(columns) - 1)
        return cls(widths, columns, max(1, min(WIDEST_GAP, gap)))

    def line(self, row: _Row) -> Text:
        line = Text(" ", row.style)
        for place, index in enumerate(self.columns):
            cell = row.cells[index]
            pad = " " * (self.widths[index] - cell_len(cell))
            line.append(" " * self.gap if place else "")
            line.append(cell + pad if index < LEFT else pad + cell, row.styles.get(index))
        return line


def _cluster_row(facts: Facts, selected: bool, glyphs: Glyphs) -> _Row:
    status, activity = facts.status, facts.activity
    name = set_cell_size(printable(status["name"]), LONGEST_NAME).rstrip()
    if name != printable(status["name"]):
        name = set_cell_size(name, LONGEST_NAME - 1) + glyphs.more
    mark = glyphs.pointer if selected else " "
    state = printable(status["status"])
    workers = status["workers"]
    ready = sum(worker["status"] == "online" for worker in workers)
    styles = {0: "bold" if selected else "", 1: COLOURS.get(state, "")}
    if activity is None:
        told = f"{state}"
        pid = str(status["pid"]) if status["pid"] else ""
        cells = [f"{mark} {name}", told, pid, *[""] * (len(HEADINGS) - 3)]
        return _Row(cells, styles, "" if selected else "bright_black")
    restarts = status["restarts"]
    cells = [
        f"{mark} {name}",
        f"{state} {ready}/{status['workers_wanted']}",
        str(status["pid"]),
        show_duration(status["uptime"]),
        f"{restarts['crash']}/{restarts['reload']}",
        show_rate(facts.requests_per_second),
        show_time(activity["p50"]),
        show_time(activity["p99"]),
        str(sum(worker["active"] for worker in workers)),
        str(status["connections"]),
        f"{sum(worker['cpu'] for worker in workers):.0f}%",
        show_size(sum(worker["rss"] for worker in workers)),
    ]
    if restarts["crash"]:
        styles[4] = "yellow"
    return _Row(cells, styles, "bold" if selected else "")


def _worker_rows(facts: Facts, glyphs: Glyphs) -> list[_Row]:
    lately = {each["id"]: each for each in (facts.activity or {}).get("workers", ())}
    workers = facts.status["workers"]
    marks = [glyphs.branch] * (len(workers) - 1) + [glyphs.last]
    return [
        _worker_row(worker, lately.get(worker["id"], {}), mark)
        for worker, mark in zip(workers, marks, strict=False)
    ]


def _worker_row(worker: Mapping[str, Any], lately: Mapping[str, Any], mark: str) -> _Row:
    state = printable(worker["status"])
    styles = {1: COLOURS.get(state, ""), 0: "bright_black"}
    name = f"  {mark} {worker['slot']}"
    if worker["pid"] is None:
        return _Row([name, state, *[""] * (len(HEADINGS) - 2)], styles)
    cells = [
        f"{name} #{worker['id']}",
        state,
        str(worker["pid"]),
        show_duration(worker["uptime"]),
        "",
        show_rate(lately.get("requests_per_second", 0.0)),
        show_time(lately.get("p50")),
        show_time(lately.get("p99")),
        str(worker["active"]),
        str(worker["connections"]),
        f"{worker['cpu']:.0f}%",
        show_size(worker["rss"]),
    ]
    return _Row(cells, styles)


def _errors(facts: Facts, width: int) -> list[Text]:
    error = facts.status["error"]
    if not error:
        return []
    lines = textwrap.wrap(printable(error), max(20, width - 6))
    return [Text(f"    {line}", "red") for line in lines[:LONGEST_ERROR]]


def show_time(seconds: float | None) -> str:
    """How long a request took, in at most five characters: ``850us``, ``1.2ms``, ``45ms``."""
    if seconds is None:
        return "-"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (100.0, 1.0, "s")):
        if seconds < limit:
            value = seconds * factor
            return f"{value:.1f}{unit}" if unit != "us" and value < 10 else f"{value:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


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
    lines = [_rule(title, right, width, view.glyphs)]
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
    lines = [_rule(title, "", width, view.glyphs)]
    shown = list(view.lines)[-(rows - 1) :]
    if not shown:
        lines.append(Text(f"  {printable(view.log_problem or 'nothing yet')}", "bright_black"))
    label = max((len(line.source) for line in shown), default=0)
    for line in shown:
        slot = line.source.isdecimal()
        style = SOURCES[int(line.source) % len(SOURCES)] if slot else "bright_black"
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
        line = _cropped(left[index] if index < len(left) else Text(), half - 2, view.glyphs)
        pad = " " * (half - cell_len(line.plain))
        lines.append(Text.assemble(line, pad, right[index] if index < len(right) else ""))
    return lines
