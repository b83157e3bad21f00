"""What happens to the cluster as a whole, to its generations and their pools."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.events.fact import Event


@dataclass(frozen=True, slots=True)
class PoolNotStarted(Event):
    """There was no process to be had for a pool."""

    _text = "the pool could not be started: {0.reason}"
    reason: str


@dataclass(frozen=True, slots=True)
class PoolLost(Event):
    """The pool of a generation that is in use has ended."""

    _text = "generation {0.generation}: {0.reason}"
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class PoolEndedByForce(Event):
    """The pool of an earlier generation is killed: it has not ended in time."""

    _text = "ending by force, not finished in time: the pool of generation {0.generation}"
    generation: int


@dataclass(frozen=True, slots=True)
class AppLoading(Event):
    """The app takes its time to load."""

    _text = "loading {0.app!r} …"
    app: str


@dataclass(frozen=True, slots=True)
class AppStillLoading(Event):
    """The app takes long to load."""

    _text = (
        "still loading {0.app!r}, for {0.waited_seconds:.0f} s;"
        " {0.left_seconds:.0f} s more are left to it (--boot-timeout)"
    )
    app: str
    waited_seconds: float
    left_seconds: float


@dataclass(frozen=True, slots=True)
class Backoff(Event):
    """Workers or pools die again and again, so the next start has to wait."""

    _text = "backoff: the next start is in {0.wait_seconds:.1f} s"
    _logged = False
    wait_seconds: float
    failed_starts: int
    """In a row, of workers that never stood up."""


@dataclass(frozen=True, slots=True)
class CrashLoop(Event):
    """Nothing is started any more: too many starts in a row have failed."""

    _text = "giving up after {0.failed_starts} failed starts in a row"
    failed_starts: int


@dataclass(frozen=True, slots=True)
class ClusterReady(Event):
    """All workers are online for the first time."""

    _text = "{0.cluster!r} is ready at {0.urls}, workers: {0.sizing}"
    cluster: str
    urls: str
    """With commas between them."""
    sizing: str
    """How many workers, and why."""


@dataclass(frozen=True, slots=True)
class ClusterStopping(Event):
    """It accepts no more, and finishes what runs."""

    _text = "stopping; running requests have {0.within_seconds:g} s to finish"
    within_seconds: float


@dataclass(frozen=True, slots=True)
class ClusterEndedByForce(Event):
    """Processes are killed: they have not finished in time."""

    _text = "ending by force, not finished in time: {0.late}"
    late: str
    """Which, for people."""


@dataclass(frozen=True, slots=True)
class ClusterStopped(Event):
    """It has ended in an orderly way."""

    _text = "stopped"


@dataclass(frozen=True, slots=True)
class ClusterFailed(Event):
    """It has ended, and not as it was asked to. The command that ran it says so itself."""

    _text = "ended: {0.reason}"
    _logged = False
    reason: str


@dataclass(frozen=True, slots=True)
class FolderRestored(Event):
    """Its folder was removed."""

    _text = "its folder was removed: {0.path} is made anew"
    path: str


@dataclass(frozen=True, slots=True)
class FolderLost(Event):
    """Its folder was removed, and cannot be made anew."""

    _text = "its folder was removed and cannot be made anew: {0.reason}"
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptFailed(Event):
    """accept(2) fails: connections wait in the kernel."""

    _text = "cannot accept: {0.reason}; connections wait until there is room"
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptResumed(Event):
    """accept(2) succeeds again."""

    _text = "accepting again"


@dataclass(frozen=True, slots=True)
class RoomExhausted(Event):
    """There are so many connections that idle ones have to go."""

    _text = (
        "{0.connections} connections, and no room for more with {0.descriptors} descriptors"
        " (ulimit -n): those that have been idle for longest are closed"
    )
    connections: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class RoomRegained(Event):
    """Connections find room again."""

    _text = "there is room for connections again"
