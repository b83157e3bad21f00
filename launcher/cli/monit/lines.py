"""Lines of a picture, and figures that fit into them."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.cli.monit.view import Glyphs

__all__ = ["counted", "cropped", "rule", "show_time"]


def cropped(line: Text, width: int, glyphs: Glyphs) -> Text:
    """The line, or as much of it as there is room for and a mark that there is more."""
    if cell_len(line.plain) > width:
        line = line.copy()
        line.right_crop(
            len(line.plain) - len(set_cell_size(line.plain, max(0, width - 1)).rstrip())
        )
        line.append(glyphs.more, "bright_black")
    return line


def rule(title: Text, right: str, width: int, glyphs: Glyphs) -> Text:
    """A line across the screen, with a title in it and a figure at its right end."""
    line = Text.assemble((f"{glyphs.rule} ", "bright_black"), title, " ")
    end = f" {right} {glyphs.rule}" if right else ""
    room = width - cell_len(line.plain) - cell_len(end)
    if room < 1:
        end, room = "", max(0, width - cell_len(line.plain))
    return line.append(glyphs.rule * room + end, "bright_black")


def counted(count: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def show_time(seconds: float | None) -> str:
    """How long a request took, in at most five characters: ``850µs``, ``1.2ms``, ``45ms``."""
    if seconds is None:
        return "-"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (100.0, 1.0, "s")):
        if seconds < limit:
            value = seconds * factor
            return f"{value:.1f}{unit}" if unit != "µs" and value < 10 else f"{value:.0f}{unit}"
    return f"{seconds / 60:.0f}m"
