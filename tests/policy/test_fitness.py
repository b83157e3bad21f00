"""When a worker is frozen, too large, or due; and which request froze it."""

from __future__ import annotations

import pytest

from launcher.policy.fitness import Overweight, Pulse, culprits, staggered


def test_a_pulse_counts_only_time_without_a_new_heartbeat() -> None:
    pulse = Pulse()
    assert [pulse.look(beat, 1.0) for beat in (5, 5, 5, 6, 6)] == [0, 1, 2, 0, 1]


def test_time_that_the_observer_slept_through_counts_as_a_second() -> None:
    pulse = Pulse()
    pulse.look(5, 1.0)
    assert pulse.look(5, 3600.0) == 1.0


def test_who_computes_is_the_culprit_and_who_waits_is_not() -> None:
    assert culprits({1: 0.0, 2: 0.31, 3: 0.01}, 0.5) == {2}


def test_two_that_compute_are_both() -> None:
    assert culprits({1: 0.2, 2: 0.2, 3: 0.0}, 0.5) == {1, 2}


def test_when_none_computes_it_may_be_any() -> None:
    assert culprits({1: 0.0, 2: 0.0}, 0.5) == {1, 2}
    assert culprits({}, 0.5) == frozenset()


@pytest.mark.parametrize(("slot", "limit"), [(0, 100), (1, 112.5), (3, 137.5)])
def test_limits_are_staggered_by_slot(slot: int, limit: float) -> None:
    assert staggered(100, slot, workers=4) == limit


def test_overweight_takes_two_samples_in_a_row() -> None:
    overweight = Overweight()
    assert [overweight.sample(size, 100) for size in (101, 99, 101, 102, 103)] == [
        False,
        False,
        False,
        True,
        True,
    ]
