"""What happens to workers, and to the connections of those that die."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.events.fact import Event, Worker


@dataclass(frozen=True, slots=True)
class _OfWorker(Event):
    which: Worker


@dataclass(frozen=True, slots=True)
class WorkerOnline(_OfWorker):
    """It is ready, and is dealt connections."""

    _text = "{0.which} is online"


@dataclass(frozen=True, slots=True)
class WorkerExited(_OfWorker):
    """Its process has ended, with an exit code or by a signal; neither: it is not known how."""

    reason: str
    """``crash``, ``timeout``, ``memory``, ``recycle``, ``reload``, ``restart``, ``scale``…"""
    code: int | None
    signal: str | None
    asked: bool
    """Whether it was asked to leave, or the cluster was ending."""
    error: str = ""
    """What was known of it before its end, in one line."""

    @property
    def text(self) -> str:
        """As of `Event`."""
        how = f"{self.which} {_ended(self.code, self.signal)}"
        if self.asked:
            return f"{how} ({self.reason})"
        return f"{how}: {self.error}" if self.error else how

    @property
    def logged(self) -> bool:
        """As of `Event`: the log has those that were not asked to leave."""
        return not self.asked


@dataclass(frozen=True, slots=True)
class WorkerNotForked(_OfWorker):
    """Its pool could not make a process for it."""

    _text = "{0.which} could not be forked: {0.reason}"
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerUnfit(_OfWorker):
    """It is ended: it was not ready in time, or did not pass its health check."""

    _text = "{0.which} {0.problem}"
    problem: str


@dataclass(frozen=True, slots=True)
class WorkerLeaves(_OfWorker):
    """It leaves by itself."""

    _text = "{0.which} leaves: {0.reason}"
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerRestartBegun(_OfWorker):
    """It is to be replaced, because a user wants it to be."""

    _text = "restarting {0.which}: its replacement first"


@dataclass(frozen=True, slots=True)
class WorkerRestartDone(_OfWorker):
    """It has replaced another, as a user wanted."""

    _text = "restart of worker {0.old_worker} done: {0.which} has its slot"
    old_worker: int
    """Its id."""


@dataclass(frozen=True, slots=True)
class WorkerFrozen(_OfWorker):
    """It is ended, because it has given no sign of life for so long."""

    _text = "{0.which} gives no sign of life for {0.still_seconds:g} s: ending it"
    still_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerOverweight(_OfWorker):
    """It is replaced, because it uses more memory than ``--max-memory``."""

    _text = "{0.which} uses more than {0.limit_mebibytes} MiB: replacing it"
    limit_mebibytes: int


@dataclass(frozen=True, slots=True)
class WorkerAged(_OfWorker):
    """It is replaced, because it has served for ``--max-lifetime``."""

    _text = "{0.which} has served for {0.served_seconds:.0f} s: replacing it"
    served_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerSpent(_OfWorker):
    """It is replaced, because it has begun its last request (``--max-requests``)."""

    _text = "{0.which} has begun its last request: replacing it"


@dataclass(frozen=True, slots=True)
class WorkerGoesOn(_OfWorker):
    """It serves though it is spent: no other worker could."""

    _text = "{0.which} goes on: nobody else is ready"


@dataclass(frozen=True, slots=True)
class WorkerEndedByForce(_OfWorker):
    """It is killed, because it was asked to leave and has not done so in time."""

    _text = "ending by force, not finished in time: {0.which}"


@dataclass(frozen=True, slots=True)
class ConnectionsRescued(_OfWorker):
    """What becomes of the connections that a dead worker had."""

    _logged = False
    dealt: int
    """Go on with another worker: no request was running on them."""
    rerun: int
    """Their request may run again, with another worker."""
    answered: int
    """Get a complete error: 502, or 504 for a request that was overdue."""
    finished: int
    """Are closed in an orderly way, after a complete response."""
    cut: int
    """Are cut in the middle of a response."""

    @property
    def text(self) -> str:
        """As of `Event`."""
        outcomes = {
            "dealt again": self.dealt,
            "with a request to run again": self.rerun,
            "answered with an error": self.answered,
            "finished": self.finished,
            "cut": self.cut,
        }
        told = ", ".join(f"{count} {what}" for what, count in outcomes.items() if count)
        return f"connections of {self.which}: {told}"


def _ended(code: int | None, signal: str | None) -> str:
    if signal is not None:
        return f"was killed by {signal}"
    return "is gone" if code is None else f"exited with status {code}"
