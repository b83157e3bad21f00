"""What becomes of changes to a cluster: reload, restart, scale; and why they begin."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.events.fact import Event


@dataclass(frozen=True, slots=True)
class ReloadRequested(Event):
    """A signal asks for a reload."""

    _text = "reloading: {0.signal}"
    signal: str


@dataclass(frozen=True, slots=True)
class ReloadDue(Event):
    """It is a time at which ``--reload-at`` has the app loaded anew."""

    _text = "it is {0.time}: reloading (--reload-at)"
    time: str
    """Hours and minutes in the cluster's place."""


@dataclass(frozen=True, slots=True)
class _OfChange(Event):
    kind: str
    """``reload``, ``restart`` or ``scale``; for one worker ``restart of worker 3``."""


@dataclass(frozen=True, slots=True)
class ChangeBegun(_OfChange):
    """A generation is being loaded, which is to replace the current one."""

    _text = "{0.kind}ing: generation {0.generation} is being loaded"
    generation: int

    @property
    def event(self) -> str:
        """As of `Event`: ``reload_begun``."""
        return f"{self.kind}_begun"


@dataclass(frozen=True, slots=True)
class ChangeDone(_OfChange):
    """All workers that are wanted are online."""

    _text = "{0.kind} done: {0.workers} workers of generation {0.generation} are online"
    workers: int
    generation: int

    @property
    def event(self) -> str:
        """As of `Event`: ``reload_done``."""
        return f"{self.kind}_done"


@dataclass(frozen=True, slots=True)
class ChangeFailed(_OfChange):
    """The change could not be carried out; after a failed reload all is as before."""

    _text = "{0.kind} failed: {0.reason}"
    reason: str

    @property
    def event(self) -> str:
        """As of `Event`: ``reload_failed``, and ``worker_restart_failed`` for one worker."""
        what, of_one, _ = self.kind.partition(" of worker ")
        return f"worker_{what}_failed" if of_one else f"{what}_failed"


@dataclass(frozen=True, slots=True)
class ScaleBegun(Event):
    """The number of workers changes."""

    _text = "scaling from {0.workers_before} to {0.workers} workers"
    workers_before: int
    workers: int


@dataclass(frozen=True, slots=True)
class CodeChanged(Event):
    """Code of the app has changed (``--watch``), so it is to be loaded anew."""

    _text = "{0.paths} has changed"
    paths: str
    """The first path, and how many more."""


@dataclass(frozen=True, slots=True)
class CodeSettled(Event):
    """Files have changed while the app was loaded, which is no reason for a reload."""

    _text = "{0.paths} changed while the app was loaded: taken for its own doing"
    paths: str
    """As of `CodeChanged`."""


@dataclass(frozen=True, slots=True)
class ReloadHeldBack(Event):
    """The code changes too often to load it each time."""

    _text = (
        "reloaded too often, the next time in {0.wait_seconds:.0f} s;"
        " if the app writes it: --watch-ignore {0.path}"
    )
    wait_seconds: float
    path: str
