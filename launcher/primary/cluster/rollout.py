"""A change of the whole cluster that somebody waits for: reload, restart, scale."""

from __future__ import annotations

from launcher.primary.control.server import Reply
from launcher.primary.processes.generation import Generation


class Rollout:
    """One change under way; there is one at a time.

    ``generation`` is the one it is about: the new one of a reload or restart,
    the current one of a scale.
    """

    def __init__(self, kind: str, generation: Generation, reply: Reply) -> None:
        self.kind = kind
        self.generation = generation
        self._reply = reply

    @property
    def transaction(self) -> bool:
        """Whether the first thing that goes wrong undoes it."""
        return self.kind == "reload"

    def done(self, workers: int) -> None:
        """It is carried out: ``workers`` of its generation serve."""
        self._reply.done({"generation": self.generation.number, "workers": workers})

    def failed(self, reason: str, detail: str) -> None:
        """It cannot be carried out."""
        self._reply.refused(f"{self.kind} failed: {reason}", detail)
