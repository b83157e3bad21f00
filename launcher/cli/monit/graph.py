"""How a figure has been over time: a line of marks, or several where there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from launcher.cli.monit.view import Glyphs

__all__ = ["graph", "steps"]

_LABEL = 12
_FIGURE = 20
"""Columns for what stands before and behind the marks."""


def steps(values: Sequence[float], rows: int, marks: str) -> list[str]:
    """The rows of marks for these values, the highest first; the largest value fills all rows."""
    top = max(*values, 1e-9) if len(values) > 1 else max(sum(values), 1e-9)
    levels = [round(value / top * rows * len(marks)) for value in values]
    lines = []
    for row in reversed(range(rows)):
        base = row * len(marks)
        cells = [min(len(marks), level - base) for level in levels]
        # What is there at all has a mark in the lowest row, however little it is.
        lines.append(
            "".join(marks[max(cell - 1, 0)] if cell > 0 or not row else " " for cell in cells)
        )
    return lines


def graph(
    label: str,
    values: Sequence[float],
    show: Callable[[float], str],
    size: tuple[int, int],
    style: tuple[str, Glyphs],
) -> list[Text]:
    """A label, the last of the values as marks, and the largest; nothing of fewer than two.

    ``size``: columns of the screen and rows of the graph; ``style``: the marks' colour and glyphs.
    """
    (columns, rows), (colour, glyphs) = size, style
    shown = list(values)[-max(2, columns - _LABEL - _FIGURE) :]
    if len(shown) < 2:
        return []
    lines = []
    for index, marks in enumerate(steps(shown, rows, glyphs.spark)):
        first = index == 0
        head = f" {label}".ljust(_LABEL) if first else " " * _LABEL
        end = f"  at most {show(max(shown))}" if first else ""
        lines.append(Text.assemble((head, "bright_black"), (marks, colour), (end, "bright_black")))
    return lines
