"""Reload, restart and scale: histories of what happens, and what has been done then."""

from __future__ import annotations

import pytest

from launcher.errors import LauncherError
from launcher.policy.lifecycle import ClusterState
from tests.fake_cluster import FakeOutcome
from tests.primary.cluster.conftest import EXIT_1, StartFake, serving


def test_a_reload_takes_over_once_all_are_ready(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.primary.reload(outcome)
    assert cluster.done() == ["launch 2"]
    assert str(cluster.primary.state) == "reloading"
    cluster.roster.loaded(2)
    assert cluster.done() == ["fork 2/0", "fork 2/1"]
    cluster.roster.ready(3)
    assert (serving(cluster), outcome.result) == ([1, 2], None)
    cluster.roster.ready(4)
    assert serving(cluster) == [3, 4]
    assert cluster.done() == ["retire 1 reload", "retire 2 reload"]
    assert outcome.result == {"generation": 2, "workers": 2}
    assert str(cluster.primary.state) == "online"
    assert cluster.primary.record.restarts["reload"] == 1
    cluster.roster.died(1, 0)
    cluster.roster.died(2, 0)
    assert cluster.done() == ["dismiss 1"]
    assert cluster.primary.record.restarts["crash"] == 0


@pytest.mark.parametrize("how", ["app", "exit", "unfit", "pool"])
def test_one_that_fails_changes_nothing(fake: StartFake, how: str) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.primary.reload(outcome)
    roster, new = cluster.roster, cluster.roster.generations[1]
    if how in ("exit", "unfit"):
        roster.loaded(2)
    cluster.done()
    if how == "app":
        roster.events.app_failed(new, "SyntaxError", "a traceback")
    elif how == "exit":
        roster.died(3, EXIT_1)
    elif how == "unfit":
        roster.events.worker_unfit(roster.worker(3), "was not ready within 30 s")
    else:
        roster.pool_died(2)
    refusals = {
        "app": ("reload failed: SyntaxError", "a traceback"),
        "exit": ("reload failed: worker 3 (slot 0, pid 10003) exited with status 1", ""),
        "unfit": ("reload failed: worker 3 (slot 0, pid 10003) was not ready within 30 s", ""),
        "pool": (
            "reload failed: the pool was killed by SIGKILL while the app was being loaded",
            "",
        ),
    }
    assert outcome.refusal == refusals[how]
    assert cluster.done()[-1] == "discard 2 reload failed"
    assert serving(cluster) == [1, 2]
    assert cluster.primary.state is ClusterState.ONLINE
    assert cluster.primary.error is None
    assert not any(cluster.primary.record.restarts.values())
    again = FakeOutcome()
    cluster.primary.reload(again)
    assert cluster.done() == ["launch 3"]


def test_there_is_one_change_at_a_time(fake: StartFake) -> None:
    cluster = fake()
    primary, outcome = cluster.primary, FakeOutcome()
    with pytest.raises(LauncherError, match="the cluster is starting"):
        primary.reload(outcome)
    cluster.stood_up()
    primary.reload(outcome)
    with pytest.raises(LauncherError, match="a reload is under way"):
        primary.restart(FakeOutcome())
    with pytest.raises(LauncherError, match="a reload is under way"):
        primary.scale(primary.settings.sized(3, 3, ""), FakeOutcome())
    primary.ending.stop()
    assert outcome.refusal == ("reload failed: the cluster was stopped", "")
    with pytest.raises(LauncherError, match="is being stopped"):
        primary.reload(FakeOutcome())


def test_without_a_process_a_reload_is_refused_at_once(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.out_of_processes = True
    with pytest.raises(LauncherError, match="the pool could not be started"):
        cluster.primary.reload(FakeOutcome())
    assert serving(cluster) == [1, 2]
    assert cluster.primary.rollouts.under_way is None


def test_a_restart_ends_the_old_ones_first(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.primary.restart(outcome)
    assert cluster.done() == ["launch 2", "retire 1 restart", "retire 2 restart"]
    assert serving(cluster) == []
    assert not cluster.traffic.hopeless, "connections wait"
    cluster.roster.loaded(2)
    cluster.roster.ready(3)
    assert (serving(cluster), outcome.result) == ([3], None)
    cluster.roster.ready(4)
    assert outcome.result == {"generation": 2, "workers": 2}


def test_a_restart_whose_app_does_not_load_is_told(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.primary.restart(outcome)
    new = cluster.roster.generations[1]
    cluster.roster.events.app_failed(new, "SyntaxError", "a traceback")
    assert outcome.refusal == ("restart failed: SyntaxError", "a traceback")
    assert cluster.primary.ending.failure is None
    assert cluster.primary.error == "SyntaxError"


def test_scaling_is_done_when_all_are_online(fake: StartFake) -> None:
    cluster = fake().stood_up()
    up, down = FakeOutcome(), FakeOutcome()
    cluster.primary.scale(cluster.primary.settings.sized(3, 3, "three"), up)
    assert cluster.done() == ["fork 1/2"]
    assert cluster.traffic.done[-1] == "size for 3"
    assert cluster.primary.state is ClusterState.ONLINE
    assert up.result is None
    cluster.roster.ready(3)
    assert up.result == {"generation": 1, "workers": 3}
    assert cluster.primary.settings.sizing == "three"
    with pytest.raises(LauncherError, match="nothing to do"):
        cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), down)
    cluster.primary.scale(cluster.primary.settings.sized(1, 1, ""), down)
    assert cluster.done() == ["retire 2 scale", "retire 3 scale"]
    assert down.result == {"generation": 1, "workers": 1}
    assert serving(cluster) == [1]


def test_the_number_of_workers_stays_over_a_reload_with_older_terms(fake: StartFake) -> None:
    cluster = fake().stood_up()
    terms = cluster.primary.terms
    cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), FakeOutcome())
    cluster.roster.ready(3)
    outcome = FakeOutcome()
    cluster.primary.reload(outcome, terms)
    cluster.roster.loaded(2)
    cluster.roster.ready(4, 5, 6)
    assert outcome.result == {"generation": 2, "workers": 3}
    assert cluster.primary.settings.wanted == 3


def test_a_change_goes_on_with_the_generation_that_follows_a_lost_pool(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), outcome)
    cluster.roster.pool_died(1)
    cluster.roster.loaded(2)
    cluster.roster.ready(4, 5)
    assert outcome.result is None
    cluster.roster.ready(6)
    assert outcome.result == {"generation": 2, "workers": 3}


def test_a_change_that_gives_up_is_told(fake: StartFake) -> None:
    cluster, outcome = fake(max_restarts=1).stood_up(), FakeOutcome()
    cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), outcome)
    cluster.roster.gone(3)
    assert outcome.refusal == ("scale failed: its workers do not live", "")


def test_a_reload_that_no_client_waits_for_happens_once_when_it_can(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), FakeOutcome())
    cluster.done()
    cluster.primary.rollouts.reload_soon()
    cluster.primary.rollouts.reload_soon()
    assert cluster.done() == []
    cluster.roster.ready(3)
    cluster.reactor.advance(0.999)
    assert cluster.done() == []
    cluster.reactor.advance(0.001)
    assert cluster.done() == ["launch 2"]
    cluster.reactor.advance(5)
    assert cluster.done() == []
