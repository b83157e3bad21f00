"""What there is to be seen, and what lines and marks are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from launcher.cli.asking.facts import Facts
from launcher.logs.reading import Line

__all__ = ["ASCII", "UNICODE", "Glyphs", "View"]


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
    times: Sequence[float] = ()
    """The same for the seconds in which 99 % of the requests were answered."""
    live: bool = True
    corner: str = ""
    glyphs: Glyphs = field(default=UNICODE)

    @property
    def cluster(self) -> Facts | None:
        """The selected one."""
        return self.clusters[self.selected] if self.clusters else None
