"""How values look: within the terminal's width, without control characters, plain in a pipe."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from launcher.logs.cleaning import printable

__all__ = [
    "Look",
    "Style",
    "complain",
    "give_up",
    "plain",
    "printable",
    "show_count",
    "show_duration",
    "show_rate",
    "show_size",
    "table",
    "width",
]

Style = Callable[[int, int, str], str]
"""Colours a cell of a table: row (0 is the heading), column, the aligned text."""

WIDTH = 80


def plain(_row: int, _column: int, text: str) -> str:
    """No colours."""
    return text


@dataclass(frozen=True)
class Look:
    """How a table is drawn."""

    columns: int = WIDTH
    style: Style = plain
    gap: str = "  "


LOOK = Look()


def width() -> int:
    """The columns there are to print in: $COLUMNS, else the terminal's, else 80."""
    import shutil  # only here: it loads what unpacks archives, and most commands need no width

    return shutil.get_terminal_size((WIDTH, 24)).columns


def complain(message: str, detail: str = "") -> None:
    """Say on stderr, in one line, what is wrong; before it the lines of ``detail``, as they are."""
    lines = [*detail.splitlines(), f"launcher: {' '.join(message.split())}"]
    try:
        print("\n".join(map(printable, lines)), file=sys.stderr, flush=True)
    except OSError:  # stderr is closed or full: the exit status says it
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Keep the interpreter from trying to write the rest once more as it exits."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def show_duration(seconds: float) -> str:
    """In at most six characters: ``12s``, ``5m07s``, ``3h05m``, ``12d3h``, ``400d``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days >= 100:
        return f"{days}d"
    if days:
        return f"{days}d{hour}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def show_size(size: float) -> str:
    """Bytes in at most six characters, in powers of 1024: ``31.0M``."""
    return _scaled(size, 1024, "BKMGTP")


def show_count(count: float) -> str:
    """A count in at most six characters: ``99999``, ``1.2M``."""
    return str(int(count)) if count < 100_000 else _scaled(count, 1000, " kMGTP")


def show_rate(rate: float) -> str:
    """A rate in at most six characters: ``3.4``, ``120``, ``1.2M``."""
    return f"{rate:.1f}" if 0 < rate < 10 else show_count(round(rate))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], left: int, look: Look = LOOK
) -> list[str]:
    """Rows with aligned columns, the first ``left`` to the left, the others to the right.

    A first cell that would push its row over the edge gets a line of its own,
    and its row two lines: it is what other commands need, so it is never cut.
    """
    cells = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = look.columns - sum(width + len(look.gap) for width in widths[1:])
    fitting = [len(row[0]) for row in cells if len(row[0]) <= room]
    widths[0] = max(fitting, default=0)
    return [_row(index, row, widths, left, look) for index, row in enumerate(cells)]


def _row(index: int, cells: Sequence[str], widths: Sequence[int], left: int, look: Look) -> str:
    if len(cells[0]) > widths[0]:
        rest = _row(index, ["", *cells[1:]], widths, left, look)
        return f"{look.style(index, 0, cells[0])}\n{rest}"
    aligned = [
        cell.ljust(width) if column < left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    aligned[-1] = aligned[-1].rstrip()
    styled = [look.style(index, column, text) for column, text in enumerate(aligned)]
    return look.gap.join(styled).rstrip()


def _scaled(value: float, step: int, units: str) -> str:
    power = 0
    while value >= step and power < len(units) - 1:
        value /= step
        power += 1
    digits = 1 if power and value < 100 else 0
    return f"{value:.{digits}f}{units[power]}"
