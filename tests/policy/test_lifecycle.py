"""Every state may be followed by some and by no other."""

from __future__ import annotations

from itertools import product

import pytest

from launcher.policy.lifecycle import (
    WORKER_TRANSITIONS,
    ClusterState,
    IllegalTransition,
    WorkerState,
    advance,
)

LEGAL = {
    ("backoff", "launching"),
    ("launching", "online"),
    ("launching", "retiring"),
    ("launching", "gone"),
    ("online", "retiring"),
    ("online", "gone"),
    ("retiring", "gone"),
}
EVERY = [*product(WorkerState, WorkerState)]


@pytest.mark.parametrize(("state", "to"), [pair for pair in EVERY if pair in LEGAL])
def test_a_legal_transition_gives_the_next_state(state: WorkerState, to: WorkerState) -> None:
    assert advance(state, to) is to


@pytest.mark.parametrize(("state", "to"), [pair for pair in EVERY if pair not in LEGAL])
def test_any_other_raises_and_changes_nothing(state: WorkerState, to: WorkerState) -> None:
    table = dict(WORKER_TRANSITIONS)
    after = state
    with pytest.raises(IllegalTransition, match=f"^{state} -> {to}$"):
        after = advance(state, to)
    assert after is state
    assert table == WORKER_TRANSITIONS


def test_every_state_has_its_row() -> None:
    assert {*WORKER_TRANSITIONS} == {*WorkerState}


def test_every_life_ends() -> None:
    assert WORKER_TRANSITIONS[WorkerState.GONE] == frozenset()
    for state in {*WorkerState} - {WorkerState.GONE}:
        assert WorkerState.GONE in reachable(state)


def reachable(state: WorkerState) -> set[WorkerState]:
    found: set[WorkerState] = set()
    pending = {state}
    while pending:
        following = WORKER_TRANSITIONS[pending.pop()] - found
        found |= following
        pending |= following
    return found


def test_the_words_are_those_that_users_see() -> None:
    assert {*map(str, WorkerState)} - {"gone"} == {"launching", "online", "retiring", "backoff"}
    states = "launching online reloading stopping stopped errored"
    assert {*map(str, ClusterState)} == {*states.split()}
