"""When a dead worker is replaced: histories replayed with exact numbers and no clock."""

from __future__ import annotations

import pytest

from launcher.policy.restart import (
    CALM,
    FACTOR,
    FIRST_DELAY,
    LONGEST_DELAY,
    STOOD_UP,
    RestartPolicy,
)


def replay(policy: RestartPolicy, workers: int, until: float) -> list[float]:
    """When workers start in a cluster whose workers all die at once, from 0 to ``until``."""
    starts: list[float] = []
    now, missing = 0.0, workers
    while now <= until and not policy.exhausted:
        dead = 0
        while missing and (when := policy.next_start(now)) <= now:
            policy.started(now)
            starts.append(now)
            missing, dead = missing - 1, dead + 1
        for _ in range(dead):
            policy.died(now, stood_up=False)
        missing += dead
        now = when if not dead else policy.next_start(now)
    return [round(start, 3) for start in starts if start <= until]


def test_the_numbers_are_those_of_the_design() -> None:
    assert (FIRST_DELAY, FACTOR, LONGEST_DELAY, CALM) == (0.1, 1.5, 15.0, 30.0)
    assert STOOD_UP == 1.0
    assert RestartPolicy(limit=16).limit == 16


def test_at_first_everybody_starts_at_once() -> None:
    policy = RestartPolicy(limit=16)
    for _ in range(8):
        assert policy.next_start(100.0) == 100.0
        policy.started(100.0)


def test_one_killed_worker_is_replaced_at_once() -> None:
    policy = RestartPolicy(limit=16)
    policy.started(0.0)
    policy.died(5.0, stood_up=True)
    assert policy.next_start(5.0) == 5.0


def test_four_quick_kills_are_one_failure_and_the_first_delay() -> None:
    policy = RestartPolicy(limit=16)
    for when in (5.0, 5.1, 5.2):
        policy.died(when, stood_up=True)
        assert policy.next_start(when) == when
        policy.started(when)
    policy.died(5.25, stood_up=True)
    assert policy.failures == 1.0
    assert policy.next_start(5.25) == pytest.approx(5.3)


def test_the_delay_counts_from_the_last_start_and_lasts_no_longer_than_it() -> None:
    policy = RestartPolicy(limit=16)
    policy.started(10.0)
    policy.died(10.05, stood_up=False)
    assert policy.next_start(10.05) == pytest.approx(10.1)
    assert policy.next_start(10.2) == 10.2


@pytest.mark.parametrize(
    ("failures", "delay"),
    [(1, 0.1), (2, 0.15), (3, 0.225), (4, 0.3375), (8, 1.7086), (12, 8.6498), (13, 12.9746)],
)
def test_each_failure_makes_the_delay_half_as_long_again(failures: int, delay: float) -> None:
    policy = RestartPolicy(limit=100)
    policy.started(0.0)
    for _ in range(failures):
        policy.died(0.0, stood_up=False)
    assert policy.next_start(0.0) == pytest.approx(delay, abs=1e-4)


@pytest.mark.parametrize("failures", [14, 15, 50, 1000])
def test_the_delay_is_never_longer_than_15_seconds(failures: int) -> None:
    policy = RestartPolicy(limit=10_000)
    policy.started(0.0)
    for _ in range(failures):
        policy.died(0.0, stood_up=False)
    assert policy.next_start(0.0) == LONGEST_DELAY


def test_a_crash_loop_of_two_workers_start_by_start() -> None:
    starts = replay(RestartPolicy(limit=100), workers=2, until=20)
    assert starts == [0.0, 0.0, 0.15, 0.375, 0.713, 1.219, 1.978, 3.117, 4.826, 7.389, 11.233, 17.0]
    assert len([start for start in starts if start <= 10]) <= 12
    assert len([start for start in starts if 10 < start <= 20]) <= 3


def test_a_crash_loop_ends_at_the_limit() -> None:
    policy = RestartPolicy(limit=5)
    assert len(replay(policy, workers=2, until=1000)) == 5
    assert policy.exhausted
    assert policy.attempts == 5


def test_one_worker_that_stood_up_breaks_the_row() -> None:
    policy = RestartPolicy(limit=3)
    for stood_up in (False, False, True, False, False):
        policy.died(1.0, stood_up)
        assert not policy.exhausted
    policy.died(1.0, stood_up=False)
    assert policy.exhausted


def test_killing_workers_that_serve_never_gives_up() -> None:
    policy = RestartPolicy(limit=3)
    for when in range(1000):
        policy.died(float(when), stood_up=True)
    assert not policy.exhausted


def test_after_30_calm_seconds_all_is_forgiven() -> None:
    policy = RestartPolicy(limit=16)
    policy.started(0.0)
    for _ in range(10):
        policy.died(0.0, stood_up=False)
    assert policy.next_start(0.0) > 3
    assert policy.next_start(30.5) == 30.5
    policy.started(30.5)
    policy.died(31.0, stood_up=False)
    assert policy.failures == 1.0
    assert policy.next_start(31.0) == 31.0


def test_29_seconds_are_not_calm_enough() -> None:
    policy = RestartPolicy(limit=16)
    policy.died(0.0, stood_up=False)
    policy.died(29.0, stood_up=False)
    assert policy.failures == 2.0


def test_a_reset_begins_anew() -> None:
    policy = RestartPolicy(limit=2)
    policy.started(0.0)
    policy.died(0.0, stood_up=False)
    policy.died(0.0, stood_up=False)
    assert policy.exhausted
    policy.reset()
    assert not policy.exhausted
    assert policy.next_start(0.0) == 0.0
