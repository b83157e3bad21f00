"""The states that users see, and every legal way from one to another."""

from __future__ import annotations

from enum import StrEnum


class WorkerState(StrEnum):
    """A worker's life. `docs/architecture.md` has these states and their meanings as a table."""

    LAUNCHING = "launching"
    """Started, not ready yet: the app is loading, or its health check is not answered."""
    ONLINE = "online"
    """Ready: it is dealt connections."""
    RETIRING = "retiring"
    """Finishes what it runs and takes no more."""
    GONE = "gone"
    """Dead; its connections go to others."""
    BACKOFF = "backoff"
    """Of a slot: it waits until its next worker may be started."""


class ClusterState(StrEnum):
    """What a cluster as a whole is doing; a table as of `WorkerState`."""

    LAUNCHING = "launching"
    """Not all of its first workers are ready yet."""
    ONLINE = "online"
    """It serves."""
    BACKOFF = "backoff"
    """Its workers died, none serves, and the next one is not started yet; ``list`` says why."""
    RELOADING = "reloading"
    """A reload or restart is under way."""
    STOPPING = "stopping"
    """It finishes what runs."""
    STOPPED = "stopped"
    """It does not run; it was stopped by name."""
    ERRORED = "errored"
    """It has given up starting workers."""


WORKER_TRANSITIONS: dict[WorkerState, frozenset[WorkerState]] = {
    WorkerState.BACKOFF: frozenset({WorkerState.LAUNCHING}),
    WorkerState.LAUNCHING: frozenset({WorkerState.ONLINE, WorkerState.RETIRING, WorkerState.GONE}),
    WorkerState.ONLINE: frozenset({WorkerState.RETIRING, WorkerState.GONE}),
    WorkerState.RETIRING: frozenset({WorkerState.GONE}),
    WorkerState.GONE: frozenset(),
}


class IllegalTransition(Exception):
    """A defect of the launcher: the one state cannot follow the other."""


def advance(state: WorkerState, to: WorkerState) -> WorkerState:
    """``to``, when it may follow ``state``; raises IllegalTransition when not."""
    if to not in WORKER_TRANSITIONS[state]:
        raise IllegalTransition(f"{state} -> {to}")
    return to
