"""A picture of the clusters: from what is known to lines for a screen of a given size.

Every line is one row, no wider than the screen. Whatever came from a file or a
socket goes through `printable` first.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from launcher.cli.monit import panels
from launcher.cli.monit.layout import Want, share
from launcher.cli.monit.lines import counted, cropped
from launcher.cli.monit.table import table, table_height
from launcher.cli.monit.view import View
from launcher.logs.cleaning import printable

__all__ = ["frame"]


WIDE = 120
"""Columns from which requests and log stand side by side."""

HIGH = 30
"""Rows from which there is room for what is nice to have."""

TALL = 40
"""Rows from which there is room for what went before: tall graphs, the last exits."""

TALL_GRAPH, MOST_EXITS = 4, 4

LOW = 6
"""Rows below which there is room for the table only."""

MOST_HEIGHT = 1000


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
    about = panels.about(view, width, TALL_GRAPH if rows >= TALL else 1) if rows >= HIGH else []
    about += panels.exits(view, width, 1 + MOST_EXITS) if rows >= TALL else []
    active = panels.running(view.cluster)
    rows -= len(head) + len(about)
    requests, log = 1 + max(1, len(active)), 1 + max(1, len(view.lines))
    below = [Want(4, max(requests, log))] if width >= WIDE else [Want(3, requests), Want(4, log)]
    above, *others = share(rows, [Want(max(4, rows // 2), table_height(view, width)), *below])
    lines = [*head, *table(view, width, above), *about]
    if width >= WIDE:
        return lines + panels.side_by_side(view, active, width, others[0])
    lines += panels.requests(view, active, width, others[0])
    return lines + panels.log(view, width, others[1])


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
