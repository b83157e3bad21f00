"""A change of the whole cluster that somebody waits for: reload, restart, scale."""

from __future__ import annotations

from typing import Any, Protocol

from launcher.primary.processes.generation import Generation


class Outcome(Protocol):
    """Is told once what came of a change, now or later."""

    def done(self, result: Any) -> None:
        """The change is carried out; ``result`` are plain JSON values."""

    def refused(self, message: str, detail: str = "") -> None:
        """The change is not carried out. ``message`` is one line; ``detail`` is shown before it."""


class Rollout:
    """One change under way; there is one at a time.

    ``generation`` is the one it is about: the new one of a reload or restart,
    the current one of a scale.
    """

    def __init__(self, kind: str, generation: Generation, outcome: Outcome) -> None:
        self.kind = kind
        self.generation = generation
        self._outcome = outcome

    @property
    def transaction(self) -> bool:
        """Whether the first thing that goes wrong undoes it."""
        return self.kind == "reload"

    def done(self, workers: int) -> None:
        """It is carried out: ``workers`` of its generation serve."""
        self._outcome.done({"generation": self.generation.number, "workers": workers})

    def failed(self, reason: str, detail: str) -> None:
        """It cannot be carried out."""
        self._outcome.refused(f"{self.kind} failed: {reason}", detail)
