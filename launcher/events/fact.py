"""What all facts have in common, and how a worker is named in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar

_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Worker:
    """Which worker: its id (never reused), its slot, its process, and its load of the app."""

    worker: int
    slot: int
    pid: int | None
    """None: its pool has not forked it yet."""
    generation: int

    def __str__(self) -> str:
        return f"worker {self.worker} (slot {self.slot}, pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact."""

    _text: ClassVar[str]
    """The form of its text; the fact is argument 0 (`str.format`)."""
    _logged: ClassVar[bool] = True

    @property
    def event(self) -> str:
        """The name of its kind: ``worker_online``."""
        return _WORDS.sub("_", type(self).__name__).lower()

    @property
    def text(self) -> str:
        """The fact in one line, for people."""
        return self._text.format(self)

    @property
    def logged(self) -> bool:
        """Whether it has a line in the log. What is a matter of course has none."""
        return self._logged

    def values(self) -> dict[str, Any]:
        """All but its name and its text; a worker gives its own values."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Worker):
                found |= {each.name: getattr(value, each.name) for each in fields(value)}
            else:
                found[field.name] = value
        return found
