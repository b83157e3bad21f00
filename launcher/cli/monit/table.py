"""The table of clusters and the selected one's workers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.cli.asking.facts import Facts
from launcher.cli.colours import OF_STATE
from launcher.cli.monit.layout import fitting, window
from launcher.cli.monit.lines import counted, show_time
from launcher.cli.monit.view import Glyphs, View
from launcher.cli.text import show_duration, show_rate, show_size
from launcher.cli.threads import busy, waits
from launcher.logs.cleaning import printable

__all__ = ["table", "table_height"]

HEADINGS = (
    *("name", "status", "pid", "uptime", "restarts", "req/s", "p50", "p99"),
    *("busy", "streams", "threads", "conns", "cpu", "memory"),
)
LEAST = (8, 10, 6, 6, 8, 5, 5, 5, 7, 7, 7, 5, 4, 6)
"""Widths that keep the columns where they are while the figures change."""
RANKS = (0, 0, 8, 9, 5, 1, 3, 2, 4, 10, 11, 6, 4, 7)
"""Which column goes first when there is no room: the one with the highest."""
LEFT = 2
LONGEST_NAME = 24
WIDEST_GAP = 6
LONGEST_ERROR = 3


@dataclass(slots=True)
class _Row:
    cells: Sequence[str]
    styles: Mapping[int, str]
    style: str = ""


def table_height(view: View, width: int) -> int:
    """The rows that the whole `table` would have."""
    workers = len(view.cluster.status["workers"]) if view.cluster else 0
    return 1 + workers + sum(1 + len(_notes(facts, width)) for facts in view.clusters)


def table(view: View, width: int, rows: int) -> list[Text]:
    """The heading and as many rows as fit, the selected cluster with its workers among them."""
    clusters = [
        _cluster_row(facts, index == view.selected, view.glyphs)
        for index, facts in enumerate(view.clusters)
    ]
    workers = _worker_rows(view.clusters[view.selected], view.glyphs)
    room = rows - 1
    notes = _shown_notes(view, width, room - len(workers))
    shown = window(len(clusters), view.selected, _cluster_room(room, len(clusters), len(workers)))
    left = room - len(shown) - sum(len(notes[index]) for index in shown)
    hidden = len(workers) - max(0, left - 1) if len(workers) > left else 0
    workers = workers[: len(workers) - hidden]
    heading = _Row(HEADINGS, {}, "bold bright_black")
    grid = _Grid.of([heading, *clusters, *workers], width)
    lines = [grid.line(heading)]
    for index in shown:
        lines += [grid.line(clusters[index]), *notes[index]]
        if index == view.selected:
            lines += [grid.line(row) for row in workers]
            if hidden and left > 0:
                more = f"  {view.glyphs.more} {counted(hidden, 'more worker')}"
                lines.append(Text(more, "bright_black"))
    return lines


def _shown_notes(view: View, width: int, room: int) -> list[list[Text]]:
    """The notes on each cluster; where these are too many, on the selected one."""
    notes = [_notes(facts, width) for facts in view.clusters]
    if len(notes) + sum(map(len, notes)) > room:
        return [each if at == view.selected else [] for at, each in enumerate(notes)]
    return notes


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
    styles = {0: "bold" if selected else "", 1: _style(state)}
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
        busy(workers),
        str(status["streaming"]),
        str(sum(worker["threads"] for worker in workers)),
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
    styles = {1: _style(state), 0: "bright_black"}
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
        busy([worker]),
        str(worker["streaming"]),
        str(worker["threads"]),
        str(worker["connections"]),
        f"{worker['cpu']:.0f}%",
        show_size(worker["rss"]),
    ]
    return _Row(cells, styles)


def _style(state: str) -> str:
    colour = OF_STATE.get(state, "")
    return f"bold {colour}" if state == "errored" else colour


def _notes(facts: Facts, width: int) -> list[Text]:
    """What is wrong with a cluster, and what waits."""
    error = printable(facts.status["error"] or "")
    lines = textwrap.wrap(error, max(20, width - 6))[:LONGEST_ERROR]
    notes = [Text(f"    {line}", "red") for line in lines]
    if waiting := waits(facts.status):
        notes.append(Text(f"    {waiting}", "yellow"))
    return notes
