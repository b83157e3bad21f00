"""A line on the terminal that tells what is still being started, and for how long it may be."""

import math
import sys
import time
from collections.abc import Sequence

from launcher.cli.text import printable, width

__all__ = ["Progress", "progress_line"]

_AFTER = 1.0
"""Seconds after which a start is worth a word."""


def progress_line(apps: Sequence[tuple[str, str]], waited: float, left: float, columns: int) -> str:
    """``starting shop: loading 'shop:app' …, for 3 s, at most 127 s more``, cut to the columns.

    ``apps``: name and app of each cluster that is not ready; the last ``left`` seconds are those
    of the first that would be given up.
    """
    if len(apps) == 1:
        ((name, app),) = apps
        what = f"starting {name}: loading {app!r} …"
    else:
        what = f"starting {', '.join(name for name, _ in apps)} …"
    line = f"{what}, for {waited:.0f} s, at most {math.ceil(left)} s more"
    return printable(line)[: columns - 1]


class Progress:
    """The line, on stderr; without a terminal nothing."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = False
        self._live = sys.stderr.isatty()

    @property
    def interval(self) -> float:
        """Seconds until it wants to be shown again."""
        return _AFTER if self._live else math.inf

    def show(self, pending: Sequence[tuple[str, str, float]]) -> None:
        """Show what is ``pending`` (name, app, its deadline), or take the line away again."""
        now = time.monotonic()
        text = ""
        if self._live and pending and now - self._began >= _AFTER:
            left = min(deadline for _, _, deadline in pending) - now
            apps = [(name, app) for name, app, _ in pending]
            text = progress_line(apps, now - self._began, max(0.0, left), width())
        if text or self._shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._shown = bool(text)
