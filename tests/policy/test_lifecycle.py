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


def test_a_legal_transition_gives_the_next_state(subtests: pytest.Subtests) -> None:
    for state, to in (pair for pair in EVERY if pair in LEGAL):
        with subtests.test(f"{state} -> {to}"):
            assert advance(state, to) is to


def test_any_other_raises_and_changes_nothing(subtests: pytest.Subtests) -> None:
    table = dict(WORKER_TRANSITIONS)
    for state, to in (pair for pair in EVERY if pair not in LEGAL):
        with subtests.test(f"{state} -> {to}"):
            with pytest.raises(IllegalTransition, match=f"^{state} -> {to}$"):
                advance(state, to)
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
    states = "launching online backoff reloading stopping stopped errored"
    assert {*map(str, ClusterState)} == {*states.split()}
