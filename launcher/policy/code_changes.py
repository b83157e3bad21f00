"""Which changed files are a reason to load the app anew, and how soon (``--watch``).

An app may write what looks like code while it is loaded: a version stamp, compiled
templates. Taken for a reason, that would load it again and again. But a change
at that time may also be a developer's, and what was read before it is old.

So what changes while a generation loads is the app's own doing if it did so in
every load since the first, or in three loads in a row; else it is one more reason.
Such a file is no reason at other times either: workers that load the app for
themselves write it whenever one starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

IN_A_ROW = 3
"""Loads. A developer may save the same file during one load and during the next, but hardly
during three in a row."""

BURST = 6
INTERVAL = 10.0
"""Seconds. So many reloads may follow each other at once, then one each interval."""


class LoadEnded(NamedTuple):
    """What changed while a generation was loaded."""

    reasons: list[str]
    own: list[str]
    """The app's own doing."""


class CodeChanges:
    """The changes of one cluster. Files by their path, generations by their number."""

    def __init__(self) -> None:
        self._during: dict[int, set[str]] | None = None
        """By generation: the files that its pool has seen change. None: no app is being loaded."""
        self._loads = 0
        self._in_a_row: dict[str, int] = {}
        """By file: the loads up to the last one during which it changed."""
        self._own: set[str] = set()

    @property
    def loading(self) -> bool:
        """Whether the app is being loaded."""
        return self._during is not None

    def load_begins(self) -> None:
        """A generation is being launched."""
        self._during = {}

    def heard(self, generation: int, paths: Iterable[str]) -> list[str]:
        """The pool of a generation has found these changed; which are a reason to reload now."""
        if self._during is None:
            return [path for path in paths if path not in self._own]
        self._during.setdefault(generation, set()).update(paths)
        return []

    def load_ended(self, generation: int) -> LoadEnded:
        """All is calm with this generation: the new one, or the old one after a failure.

        What its own pool has seen counts: the pool of another may have looked earlier,
        and what it saw then was loaded.
        """
        changed = (self._during or {}).get(generation, set())
        self._during = None
        self._loads += 1
        self._in_a_row = {path: self._in_a_row.get(path, 0) + 1 for path in changed}
        often = min(self._loads, IN_A_ROW)
        own = {path for path, times in self._in_a_row.items() if times >= often}
        self._own = own if self._loads > 1 else set()
        return LoadEnded(sorted(changed - own), sorted(own))


class Brake:
    """Slows down reloads that follow each other without end.

    The generic cell rate algorithm (ITU-T I.371): ``_due`` is when the next one
    would come if they all kept to the interval; it may run ahead of that by a burst.
    """

    def __init__(self) -> None:
        self._due = float("-inf")

    def next(self, now: float) -> float:
        """The earliest time of the next reload (monotonic seconds); never before ``now``."""
        return max(now, self._due - (BURST - 1) * INTERVAL)

    def took(self, now: float) -> None:
        """A reload has begun."""
        self._due = max(self._due, now) + INTERVAL
