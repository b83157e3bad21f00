"""A picture of the clusters: from what is known to lines for a screen of a given size.

Every line is one row, no wider than the screen. Whatever came from a file or a
socket goes through `printable` first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

ONCE_LINES = 15
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
    foot = _foot(view, width) if height and height > 1 else []
    body = _body(view, width, rows - len(foot), bounded=height is not None)
    if height is not None:
        body = body[: height - len(foot)]
        body += [Text()] * (height - len(foot) - len(body))
    return [_cropped(line, width, view.glyphs) for line in body + foot]


def _body(view: View, width: int, rows: int, bounded: bool) -> list[Text]:
    head = [_title(view, width)] if rows > 4 or not bounded else []
    if not view.clusters:
        return [*head, Text(), Text("  no clusters; start one: python -m launcher start")]
    cluster = view.clusters[view.selected]
    running = _running(cluster)
    spark = _spark(view, width) if rows >= 30 and bounded else []
    if width >= WIDE:
        below = [Want(4, 1 + max(len(running), len(view.lines), 1))]
    else:
        log = len(view.lines) if bounded else min(len(view.lines), ONCE_LINES)
        below = [Want(3, 1 + max(1, len(running))), Want(4, 1 + max(1, log))]
    if not bounded and width >= WIDE:
        below = [Want(4, 1 + max(len(running), min(len(view.lines), ONCE_LINES), 1))]
    most = 1 + sum(_height(facts, width) for facts in view.clusters)
    most += len(cluster.status["workers"])
    rows -= len(head) + len(spark)
    given = share(rows, [Want(max(4, rows // 2), most), *below])
    body = [*head, *_table(view, width, given[0]), *spark]
    if width >= WIDE:
        return body + _side_by_side(view, running, width, given[1])
    body += _requests(view, running, width, given[1])
    return body + _log(view, width, given[2])


# Lines and their parts


def _cropped(line: Text, width: int, glyphs: Glyphs) -> Text:
    if cell_len(line.plain) > width:
        line = line.copy()
        line.right_crop(len(line.plain) - len(set_cell_size(line.plain, max(0, width - 1)).rstrip()))
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


def _foot(view: View, width: int) -> list[Text]:
    lines = []
    if view.message:
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
RANKS = (0, 0, 8, 9, 5, 1, 3, 2, 4, 6, 4, 7)
"""Which column goes first when there is no room: the one with the highest."""
LEFT = 2
LONGEST_NAME = 24


@dataclass(slots=True)
class _Row:
    cells: Sequence[str]
    styles: Mapping[int, str]
    style: str = ""


def _table(view: View, width: int, rows: int) -> list[Text]:
    """The heading and as many rows as fit, the selected cluster with its workers among them."""
    selected = view.clusters[view.selected]
    workers = _worker_rows(selected, view.glyphs)
    clusters = [
        _cluster_row(facts, index == view.selected, view.glyphs)
        for index, facts in enumerate(view.clusters)
    ]
    errors = [_errors(facts, width) for facts in view.clusters]
    room = rows - 1
    others = len(clusters) + sum(map(len, errors))
    if others + len(workers) > room:
        errors = [[] if facts is not selected else error for facts, error in zip(view.clusters, errors, strict=True)]
    shown = window(len(clusters), view.selected, _cluster_room(room, len(clusters), len(workers)))
    left = room - len(shown) - sum(len(errors[index]) for index in shown)
    hidden = len(workers) - left
    if hidden > 0:
        workers = workers[: max(0, left - 1)]
    heading = _Row(HEADINGS, {}, "bold bright_black")
    widths = _widths([heading, *clusters, *workers])
    columns = fitting(widths, RANKS, width - 1, 1)
    gap = _gap(widths, columns, width)
    lines = [_aligned(heading, widths, columns, gap)]
    for index in shown:
        lines.append(_aligned(clusters[index], widths, columns, gap))
        lines += errors[index]
        if index == view.selected:
            lines += [_aligned(row, widths, columns, gap) for row in workers]
            if hidden > 0 and left > 0:
                more = f"  {view.glyphs.more} {_counted(hidden + 1, 'more worker')}"
                lines.append(Text(more, "bright_black"))
    return lines


def _cluster_room(room: int, clusters: int, workers: int) -> int:
    """Rows for clusters, so that some workers of the selected one can be seen too."""
    return max(1, min(clusters, max(room - workers, room // 2)))


def _widths(rows: Sequence[_Row]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*(row.cells for row in rows), strict=True)]


def _gap(widths: Sequence[int], columns: Sequence[int], width: int) -> int:
    """Blanks between columns: more where there is more room, but never a desert."""
    spare = width - 1 - sum(widths[index] for index in columns)
    return max(1, min(4, spare // max(1, len(columns) - 1)))


def _aligned(row: _Row, widths: Sequence[int], columns: Sequence[int], gap: int) -> Text:
    line = Text(" ", row.style)
    for place, index in enumerate(columns):
        cell = row.cells[index]
        pad = " " * (widths[index] - cell_len(cell))
        text = cell + pad if index < LEFT else pad + cell
        line.append(" " * gap if place else "")
        line.append(text, row.styles.get(index))
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


def _height(facts: Facts, width: int) -> int:
    return 1 + len(_errors(facts, width))


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


def _spark(view: View, width: int) -> list[Text]:
    """How the requests per second have been."""
    if view.cluster is None or view.cluster.activity is None or len(view.rates) < 2:
        return []
    label, shown = " requests/s ", list(view.rates)[-(width - 24) :]
    top = max(*shown, 1.0)
    marks = "".join(
        view.glyphs.spark[min(7, int(rate / top * 8))] if rate else view.glyphs.spark[0]
        for rate in shown
    )
    peak = Text(f"  up to {show_rate(top)}", "bright_black")
    return [Text(), Text.assemble((label, "bright_black"), (marks, "green"), peak), Text()]


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
        line.append(" " * (half - cell_len(line.plain)))
        line.append(right[index] if index < len(right) else Text())
        lines.append(line)
    return lines
