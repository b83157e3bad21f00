"""The forecast, played by hand: requests end one after another, and what is planned next."""

from __future__ import annotations

import pytest

from launcher.policy.serving.waiting import (
    CAREFUL,
    CLIP,
    HAND_OVER,
    MEASURE,
    STREAM,
    WORTH,
    Forecast,
    Route,
)

US = 1_000
MS = 1_000_000


def run(route: Route, took: int, waited: int | None = None, *, contended: int = 0) -> int:
    """One request as a worker runs it; what was planned for it.

    ``took`` by the clock when nothing is in the way, ``contended`` more where it was handed
    over: the interpreter was waited for. ``waited``: of ``took``; None: all of it.
    """
    plan = route.next_plan() if route.plan & HAND_OVER else route.plan
    handed_over = plan & HAND_OVER != 0
    real = took if waited is None else waited
    whole = took + contended * handed_over
    if plan == HAND_OVER and whole > WORTH:
        route.handed_over()
    elif plan or whole > WORTH:
        held_up = not handed_over and real > CLIP
        if held_up:
            route.held_up()
        measured = real + contended * handed_over if plan & MEASURE and whole > WORTH else None
        route.ended(whole, measured, not (handed_over or held_up), not (contended or held_up))
    else:
        route.quick += 1
    return plan


def settled(took: int, waited: int | None = None, contended: int = 0) -> Route:
    """A route after many requests of one kind."""
    route = Route()
    for _ in range(2000):
        run(route, took, waited, contended=contended)
    return route


def plans(
    route: Route, number: int, took: int, waited: int | None = None, **more: int
) -> list[int]:
    return [run(route, took, waited, **more) for _ in range(number)]


def handed_over(found: list[int]) -> float:
    return sum(plan & HAND_OVER != 0 for plan in found) / len(found)


def test_the_first_request_is_run_in_the_lead_measured_and_with_care() -> None:
    assert Route().plan == MEASURE | CAREFUL


def test_what_is_short_costs_no_thought_from_the_second_on() -> None:
    route = Route()
    run(route, 50 * US)
    assert {*plans(route, 100, 50 * US)} == {0}


def test_a_leader_that_was_held_up_is_the_last_one() -> None:
    route = Route()
    run(route, 10 * MS)
    assert route.waits
    assert handed_over(plans(route, 10, 10 * MS)) == 1


@pytest.mark.parametrize("waited", [260 * US, 300 * US, 450 * US])
def test_waits_that_no_watcher_sees_are_learned_within_some_tens(waited: int) -> None:
    route = Route()
    plans(route, 40, 300 * US + waited, waited)
    assert route.waits


@pytest.mark.parametrize("took", [250 * US, 2 * MS, 100 * MS])
def test_what_computes_is_never_handed_over_and_hardly_measured(took: int) -> None:
    route = Route()
    found = plans(route, 1000, took, 50 * US)
    assert handed_over(found) == 0
    assert sum(plan & MEASURE != 0 for plan in found[100:]) <= 900 / 16 + 1


def test_a_database_around_the_corner_is_best_asked_in_the_lead() -> None:
    route = Route()
    assert handed_over(plans(route, 1000, 450 * US, 120 * US)) == 0


def test_a_long_wait_costs_next_to_no_trials_in_the_end() -> None:
    route = settled(3 * MS)
    assert handed_over(plans(route, 10_000, 3 * MS)) > 0.99


def test_what_waits_no_longer_is_run_in_the_lead_again_within_some_tens() -> None:
    route = settled(3 * MS)
    plans(route, 60, 80 * US)
    assert not route.waits
    assert {*plans(route, 100, 80 * US)} <= {0, MEASURE}


def test_so_is_what_only_waits_for_the_interpreter() -> None:
    """0.45 ms with 0.1 ms of waiting, which look like 2.5 ms where others are in the way."""
    route = settled(3 * MS, contended=2 * MS)
    plans(route, 1200, 450 * US, 100 * US, contended=2 * MS)
    assert not route.waits


def test_what_begins_to_wait_holds_up_six_leaders_at_most() -> None:
    route = settled(80 * US)
    found = plans(route, 50, 10 * MS)
    assert found.index(HAND_OVER) <= 6
    assert handed_over(found[7:]) > 0.9


def test_now_and_then_a_wait_is_no_reason_to_hand_all_over() -> None:
    route = settled(60 * US)
    found = []
    for index in range(4000):
        found.append(run(route, 50 * MS if index % 100 == 0 else 60 * US))
    assert handed_over(found) < 0.2


def test_when_half_of_them_wait_all_are_handed_over() -> None:
    route = settled(60 * US)
    found = [run(route, 10 * MS if index % 2 else 60 * US) for index in range(1000)]
    assert handed_over(found[100:]) > 0.9


def test_a_route_with_a_stream_is_treated_with_care_until_none_comes_any_more() -> None:
    route = settled(60 * US)
    route.streamed()
    assert route.plan & CAREFUL
    for _ in range(8):
        assert route.plan & CAREFUL
        run(route, 60 * US)
    assert not route.plan & CAREFUL
    route.streamed()
    run(route, 2 * STREAM)
    assert route.plan & CAREFUL


def test_a_path_that_is_new_is_expected_to_be_as_its_like() -> None:
    forecast = Forecast()
    run(forecast.route("GET", "/about"), 80 * US)
    run(forecast.route("POST", "/user/1"), 80 * US)
    first = forecast.route("GET", "/user/1")
    run(first, 10 * MS)
    second = forecast.route("GET", "/user/2")
    assert second is not first
    assert second.waits
    assert second.plan & HAND_OVER
    assert not forecast.route("GET", "/about").waits
    assert not forecast.route("POST", "/user/2").waits


def test_one_that_is_like_none_is_expected_to_be_as_most_were() -> None:
    forecast = Forecast()
    for kind in range(20):
        run(forecast.route("GET", f"/{kind}/x"), 10 * MS)
    assert forecast.route("GET", "/new").waits
    for kind in range(20, 60):
        run(forecast.route("GET", f"/{kind}/x"), 80 * US)
    assert not forecast.route("GET", "/newer").waits


def test_a_thousand_keys_come_back_together_after_each_thread_has_connected() -> None:
    """The first 30 requests connect to a database; later ones wait for it for 0.15 ms only."""
    forecast = Forecast()
    for key in range(30):
        run(forecast.route("GET", f"/items/{key}"), 10 * MS)
    found = []
    for turn in range(3000):
        route = forecast.route("GET", f"/items/{turn * 7 % 1000}")
        found.append(run(route, 450 * US, 150 * US, contended=2 * MS))
    assert handed_over(found[200:]) < 0.02


def test_a_path_that_waits_does_not_have_its_likes_handed_over() -> None:
    forecast = Forecast()
    found = []
    for _ in range(1000):
        run(forecast.route("GET", "/api/report"), 50 * MS)
        found.append(run(forecast.route("GET", "/api/me"), 300 * US, 80 * US, contended=2 * MS))
    assert handed_over(found[100:]) == 0
    assert forecast.route("GET", "/api/report").waits


def test_a_trial_of_what_waits_for_long_holds_up_two_leaders() -> None:
    route = settled(3 * MS)
    found = plans(route, 3000, 3 * MS)
    assert found.count(MEASURE) <= 2 * 4


def test_a_like_that_streams_makes_a_new_path_one_to_treat_with_care() -> None:
    forecast = Forecast()
    forecast.route("GET", "/events/1").streamed()
    assert forecast.route("GET", "/events/2").streams
    assert not forecast.route("GET", "/other/2").streams


def test_the_same_path_is_the_same_route() -> None:
    forecast = Forecast()
    assert forecast.route("GET", "/a") is forecast.route("GET", "/a")


def test_paths_without_end_take_no_room_without_end() -> None:
    forecast = Forecast()
    for index in range(20_000):
        forecast.route("GET", f"/{index % 500}/{index}")
    assert len(forecast._routes) <= 2048
    assert len(forecast._kinds) <= 2048


def test_ids_in_a_path_share_a_route_when_there_are_many() -> None:
    forecast = Forecast()
    routes = {forecast.route("GET", f"/user/{index}") for index in range(1000)}
    assert len(routes) <= 129
    late = forecast.route("GET", "/user/late")
    run(late, 10 * MS)
    assert forecast.route("GET", "/user/later").waits
