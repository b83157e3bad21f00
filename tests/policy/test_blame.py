"""Which request killed its worker: histories of deaths, with exact times."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from launcher.policy.blame import MOST_RERUNS, RECENT, Blame, Fate, Request, Suspect

AGAIN, APART, NEVER = Fate.AGAIN, Fate.APART, Fate.NEVER

GET, OTHER, THIRD = (1, 0), (2, 0), (3, 0)

CRASH, KILL = True, False


class History:
    """Deaths one after the other, and how often each request has run again by then."""

    def __init__(self) -> None:
        self.blame = Blame()
        self.now = 100.0
        self.reruns: dict[Request, int] = {}

    def death(
        self, crashed: bool, ages: Mapping[Request, float], posts: int = 0, after: float = 0.1
    ) -> dict[Request, Fate]:
        """A worker died while it ran these, at these ages, and ``posts`` that cannot run again."""
        self.now += after
        suspects = {it: Suspect(age, self.reruns.get(it, 0)) for it, age in ages.items()}
        fates = self.blame.died(suspects, len(ages) + posts, crashed, self.now)
        for request in ages:
            self.reruns[request] = self.reruns.get(request, 0) + 1
        return fates


@pytest.fixture
def history() -> History:
    return History()


def crowd(number: int = 32, first: int = 10, step: float = 0.015) -> dict[Request, float]:
    """GETs of 500 ms, begun at different times."""
    return {(serial, 0): (serial - first) * step for serial in range(first, first + number)}


# Crashes: they come from within


def test_after_a_first_crash_its_requests_run_again_apart(history: History) -> None:
    assert history.death(CRASH, {GET: 0.2, OTHER: 0.1}) == {GET: APART, OTHER: APART}


def test_a_request_that_crashes_a_second_worker_is_guilty(history: History) -> None:
    history.death(CRASH, {GET: 0.2})
    assert history.death(CRASH, {GET: 0.21}) == {GET: NEVER}


def test_in_a_crowd_the_age_tells(history: History) -> None:
    history.death(CRASH, crowd() | {GET: 0.2})
    fates = history.death(CRASH, {(10, 0): 0.4, (11, 0): 0.3, GET: 0.205, OTHER: 0.01})
    assert fates == {GET: NEVER, (10, 0): AGAIN, (11, 0): AGAIN, OTHER: AGAIN}


def test_two_that_may_have_been_it_both_run_again(history: History) -> None:
    history.death(CRASH, {GET: 0.2, OTHER: 0.21})
    assert history.death(CRASH, {GET: 0.205, OTHER: 0.22}) == {GET: APART, OTHER: APART}
    assert history.death(CRASH, {GET: 0.203, OTHER: 0.1}) == {GET: NEVER, OTHER: AGAIN}


def test_on_a_busy_machine_one_that_was_there_at_its_usual_age_is_not_taken_for_it(
    history: History,
) -> None:
    """The guilty one took 80 ms longer this time."""
    history.death(CRASH, {GET: 0.209, OTHER: 0.281, THIRD: 0.27})
    fates = history.death(CRASH, {GET: 0.291, OTHER: 0.293, THIRD: 0.09})
    assert NEVER not in fates.values()
    assert history.death(CRASH, {GET: 0.26, OTHER: 0.1}) == {GET: NEVER, OTHER: AGAIN}


def test_one_that_was_there_at_fewer_deaths_cannot_have_been_it(history: History) -> None:
    history.death(CRASH, {GET: 0.013, OTHER: 0.2})
    history.death(CRASH, {GET: 0.291, THIRD: 0.078})
    assert history.death(CRASH, {GET: 0.01, THIRD: 0.06}) == {GET: APART, THIRD: APART}


def test_a_request_that_was_there_at_quite_another_age_was_only_there(history: History) -> None:
    history.death(CRASH, {GET: 0.01, OTHER: 0.3})
    assert history.death(CRASH, {GET: 0.4, THIRD: 0.02}) == {GET: APART, THIRD: APART}


def test_four_times_is_no_chance_at_any_age(history: History) -> None:
    history.death(CRASH, {GET: 0.01, OTHER: 0.3})
    history.death(CRASH, {GET: 0.4, THIRD: 0.02})
    assert history.death(CRASH, {GET: 0.6}, posts=3) == {GET: APART}
    assert history.death(CRASH, {GET: 1.0}, posts=3) == {GET: NEVER}


def test_that_it_was_alone_proves_it_at_any_age(history: History) -> None:
    history.death(CRASH, crowd() | {GET: 0.2})
    assert history.death(CRASH, {GET: 3.0}) == {GET: NEVER}


def test_a_post_may_have_been_it_as_well(history: History) -> None:
    history.death(CRASH, {GET: 0.2})
    assert history.death(CRASH, {GET: 3.0}, posts=1) == {GET: APART}


def test_a_crash_that_is_explained_is_held_against_nobody_else(history: History) -> None:
    history.death(CRASH, {GET: 0.2, OTHER: 0.1})
    history.death(CRASH, {GET: 0.2, OTHER: 0.3})
    assert history.blame.suspected() == set()
    assert history.death(CRASH, {OTHER: 0.1}, posts=1) == {OTHER: APART}


# Kills: they come from outside, unless an app kills itself


def test_after_a_kill_all_run_again_at_once(history: History) -> None:
    fates = history.death(KILL, crowd())
    assert {*fates.values()} == {AGAIN}


def test_a_request_that_was_killed_twice_alone_at_the_same_age_did_it(history: History) -> None:
    history.death(KILL, {GET: 0.002})
    assert history.death(KILL, {GET: 0.03}) == {GET: NEVER}


def test_alone_but_not_at_the_same_age_it_did_not(history: History) -> None:
    history.death(KILL, {GET: 3.0})
    assert history.death(KILL, {GET: 1.0}) == {GET: AGAIN}


def test_a_get_among_posts_is_not_alone(history: History) -> None:
    history.death(KILL, {GET: 0.2}, posts=8)
    assert history.death(KILL, {GET: 0.2}) == {GET: APART}


def test_in_a_crowd_twice_is_chance_and_three_times_is_not(history: History) -> None:
    history.death(KILL, crowd() | {GET: 0.2})
    again = dict.fromkeys(crowd(), 0.2)
    fates = history.death(KILL, again | {GET: 0.201})
    assert fates[GET] is APART
    assert NEVER not in fates.values()
    assert fates[(10, 0)] is AGAIN, "0 s old, then 0.2: it was only there"
    alike = [request for request, fate in fates.items() if fate is APART]
    fates = history.death(KILL, dict.fromkeys(alike, 0.01) | {GET: 0.199, OTHER: 0.1})
    assert [request for request, fate in fates.items() if fate is NEVER] == [GET]


def test_kills_at_random_ages_condemn_nobody(history: History) -> None:
    """The same GETs of 500 ms, met by one kill after the other."""
    ages = [0.4, 0.1, 0.25, 0.45, 0.02]
    for number in range(MOST_RERUNS):
        ages_now = {it: (age + ages[number]) % 0.5 for it, age in crowd().items()}
        assert NEVER not in history.death(KILL, ages_now, after=0.6).values()


def test_kills_are_not_counted_among_crashes(history: History) -> None:
    history.death(KILL, {GET: 0.2}, posts=1)
    assert history.death(CRASH, {GET: 0.2}, posts=1) == {GET: APART}
    assert history.death(CRASH, {GET: 0.2}, posts=1) == {GET: NEVER}


# What shows that it is none of them


def test_one_that_was_answered_is_no_suspect_any_more(history: History) -> None:
    history.death(CRASH, {GET: 0.2, OTHER: 0.2})
    history.blame.acquit([OTHER])
    assert history.blame.suspected() == {GET}
    assert history.death(CRASH, {GET: 0.2, OTHER: 0.2}) == {GET: NEVER, OTHER: AGAIN}


def test_the_next_request_of_a_connection_is_another(history: History) -> None:
    history.death(CRASH, {(1, 0): 0.2}, posts=1)
    assert history.death(CRASH, {(1, 80): 0.2}, posts=1) == {(1, 80): APART}


def test_workers_that_are_killed_idle_clear_it(history: History) -> None:
    history.death(KILL, {GET: 0.2})
    history.death(KILL, {})
    history.death(KILL, {})
    assert history.death(KILL, {GET: 0.2}) == {GET: AGAIN}


def test_one_such_death_may_be_chance(history: History) -> None:
    history.death(KILL, {GET: 0.2})
    history.death(KILL, {})
    assert history.death(KILL, {GET: 0.2}) == {GET: NEVER}


def test_so_do_those_that_ran_what_harmed_no_other(history: History) -> None:
    history.death(KILL, {OTHER: 0.1, THIRD: 0.2})
    history.death(KILL, {THIRD: 0.5})
    history.death(KILL, {GET: 0.2})
    history.blame.acquit([OTHER, THIRD])
    assert history.death(KILL, {GET: 0.2}) == {GET: AGAIN}


def test_but_not_when_that_was_long_ago(history: History) -> None:
    history.death(KILL, {})
    history.death(KILL, {})
    history.death(KILL, {GET: 0.2}, after=RECENT)
    assert history.death(KILL, {GET: 0.2}) == {GET: NEVER}


def test_kills_do_not_clear_one_that_crashes(history: History) -> None:
    history.death(KILL, {})
    history.death(KILL, {})
    history.death(CRASH, {GET: 0.2}, posts=1)
    assert history.death(CRASH, {GET: 0.2}, posts=1) == {GET: NEVER}


def test_a_post_that_crashes_its_workers_does_not_clear_a_get(history: History) -> None:
    history.death(CRASH, {}, posts=1)
    history.death(CRASH, {}, posts=1)
    history.death(CRASH, {GET: 0.2}, posts=1)
    assert history.death(CRASH, {GET: 0.2}, posts=1) == {GET: NEVER}


def test_workers_that_crash_idle_clear_it(history: History) -> None:
    history.death(CRASH, {})
    history.death(CRASH, {})
    history.death(CRASH, {GET: 0.2})
    assert history.death(CRASH, {GET: 0.2}) == {GET: AGAIN}


# Bounds


def test_nobody_runs_for_ever(history: History) -> None:
    for _ in range(20):
        history.death(KILL, {})
    fates = [history.death(KILL, {GET: 0.2})[GET] for _ in range(MOST_RERUNS + 1)]
    assert fates == [AGAIN] * MOST_RERUNS + [NEVER]


def test_a_suspect_is_remembered_for_as_long_as_it_runs(history: History) -> None:
    history.death(CRASH, {GET: 600.0}, posts=1)
    assert history.death(CRASH, {GET: 650.0}, posts=1, after=660) == {GET: NEVER}


def test_a_death_is_forgotten_when_all_its_suspects_are_known_to_be_harmless(
    history: History,
) -> None:
    history.death(KILL, crowd())
    history.blame.acquit(crowd())
    history.death(KILL, {GET: 0.2}, after=RECENT + 1)
    assert len(history.blame._deaths) == 1
