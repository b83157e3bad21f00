"""The states that users see, and every legal way from one to another."""

from __future__ import annotations

from enum import StrEnum


class WorkerState(StrEnum):
    """A worker's life; ``BACKOFF`` is a slot's, while it waits for its next worker."""

    LAUNCHING = "launching"
    ONLINE = "online"
    RETIRING = "retiring"
    BACKOFF = "backoff"
    GONE = "gone"


class ClusterState(StrEnum):
    """What a cluster as a whole is doing."""

    LAUNCHING = "launching"
    ONLINE = "online"
    BACKOFF = "backoff"
    RELOADING = "reloading"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERRORED = "errored"


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
