"""Whether a request that was there when its worker died may run again."""

from __future__ import annotations

from launcher.policy.blame import RECENT, Blame

GET, OTHER, THIRD = 1, 2, 3


def after(*deaths: tuple[float, set[int]]) -> Blame:
    blame = Blame()
    for when, running in deaths:
        blame.died(running, when)
    return blame


def test_a_first_death_is_not_held_against_anybody() -> None:
    assert after((0.0, {GET})).clears(reruns=0, now=0.0)


def test_a_request_that_was_there_twice_is_the_culprit() -> None:
    assert not after((0.0, {GET}), (0.1, {GET})).clears(reruns=1, now=0.1)


def test_one_death_that_no_request_explains_may_be_chance() -> None:
    assert not after((0.0, {GET}), (0.1, set()), (0.2, {GET})).clears(reruns=1, now=0.2)


def test_workers_that_die_idle_clear_it() -> None:
    blame = after((0.0, {GET}), (0.1, set()), (0.2, set()), (0.3, {GET}))
    assert blame.clears(reruns=1, now=0.3)


def test_so_do_workers_that_ran_what_harmed_no_other() -> None:
    blame = after((0.0, {OTHER}), (0.1, {OTHER, THIRD}), (0.2, {GET}), (0.3, {GET}))
    assert not blame.clears(reruns=1, now=0.3)
    blame.acquit(OTHER)
    assert not blame.clears(reruns=1, now=0.3)
    blame.acquit(THIRD)
    assert blame.clears(reruns=1, now=0.3)


def test_but_not_when_that_was_long_ago() -> None:
    now = RECENT + 0.3
    blame = after((0.0, set()), (0.1, set()), (now - 0.1, {GET}), (now, {GET}))
    assert not blame.clears(reruns=1, now=now)


def test_requests_that_kill_at_the_same_time_do_not_clear_one_another() -> None:
    blame = after((0.0, {GET}), (0.0, {OTHER}), (0.0, {THIRD}), (0.1, {GET}))
    assert not blame.clears(reruns=1, now=0.1)
    blame.died({OTHER}, 0.2)
    assert not blame.clears(reruns=1, now=0.2)
    blame.died({THIRD}, 0.3)
    assert not blame.clears(reruns=1, now=0.3)


def test_nobody_is_cleared_for_ever() -> None:
    blame = after(*((number / 100, set()) for number in range(50)))
    assert [blame.clears(reruns, now=0.5) for reruns in range(8)] == [True] * 5 + [False] * 3
