"""How values look in a terminal: plain text, 80 columns, no control characters."""

import re
import sys
from collections.abc import Sequence

__all__ = ["complain", "printable", "show_count", "show_duration", "show_size", "table"]

# C0, DEL, C1; the marks, embeddings, overrides and isolates that reorder text; the separators
# that some terminals take for line ends; halves of surrogate pairs, which nothing can print.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
GAP = "  "
WIDTH = 80


def printable(text: str) -> str:
    """The text with everything that could steer a terminal shown as its escape.

    For every value that came from a file or a socket: an app's error, a name, a path.
    """
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def complain(message: str) -> None:
    """Say on stderr, in one line, what is wrong."""
    print(f"launcher: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)


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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows with aligned columns, the first ``left`` to the left, the others to the right.

    A first cell that would push its row over the edge gets a line of its own,
    and its row two lines: it is what other commands need, so it is never cut.
    """
    cells = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = WIDTH - sum(width + len(GAP) for width in widths[1:])
    fitting = [len(row[0]) for row in cells if len(row[0]) <= room]
    widths[0] = max(fitting, default=0)
    return [_row(row, widths, left) for row in cells]


def _row(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    if len(cells[0]) > widths[0]:
        return f"{cells[0]}\n{_row(['', *cells[1:]], widths, left)}"
    aligned = [
        cell.ljust(width) if index < left else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return GAP.join(aligned).rstrip()


def _scaled(value: float, step: int, units: str) -> str:
    power = 0
    while value >= step and power < len(units) - 1:
        value /= step
        power += 1
    digits = 1 if power and value < 100 else 0
    return f"{value:.{digits}f}{units[power]}"
