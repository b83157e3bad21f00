"""The primary's step: histories of what happens, and what it has done then, at exact times."""

from __future__ import annotations

import signal

import pytest

from launcher.errors import LauncherError
from launcher.ipc.messages import Buried, Configured
from launcher.policy.lifecycle import ClusterState, WorkerState
from tests.fakes import FakeCluster, FakeOutcome
from tests.primary.cluster.conftest import StartFake

EXIT_1 = 1 << 8
"""As from wait(2)."""


def serving(cluster: FakeCluster) -> list[int]:
    return cluster.traffic.ring


def when_done(cluster: FakeCluster, within: float) -> list[tuple[float, str]]:
    """What is done by itself within so many seconds, and how many after the cluster began."""
    found: list[tuple[float, str]] = []
    until = cluster.reactor.now + within
    while cluster.reactor.now < until - 1e-9:
        cluster.reactor.advance(0.0125)
        found += [(round(cluster.reactor.now - cluster.began, 4), each) for each in cluster.done()]
    return found


# The first start


def test_it_is_online_once_all_are_ready(fake: StartFake) -> None:
    told: list[str] = []
    cluster = fake(on_ready=lambda: told.append("ready"))
    primary, roster = cluster.primary, cluster.roster
    primary.start()
    assert cluster.traffic.done == ["start"]
    assert cluster.done() == ["launch 1"]
    assert primary.state is ClusterState.LAUNCHING
    roster.loaded(1)
    assert cluster.done() == ["fork 1/0", "fork 1/1"]
    assert primary.empty_slots() == []
    roster.ready(1)
    assert serving(cluster) == [1]
    assert (told, primary.state) == ([], ClusterState.LAUNCHING)
    roster.ready(2)
    assert serving(cluster) == [1, 2]
    assert (told, primary.state) == (["ready"], ClusterState.ONLINE)
    assert cluster.traffic.done[1:] == [
        "welcome 1",
        "spread over 1",
        "welcome 2",
        "spread over 2",
    ]
    assert cluster.done() == []
    primary.step()
    assert told == ["ready"]


def test_a_start_that_is_waited_for_fails_with_the_first_worker(fake: StartFake) -> None:
    cluster = fake(on_ready=lambda: None)
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.roster.ready(1)
    cluster.roster.worker(2).error = "ValueError: 7"
    cluster.roster.died(2, EXIT_1)
    failure = cluster.primary.ending.failure
    assert str(failure) == ("worker 2 (slot 1, pid 10002) exited with status 1: ValueError: 7")
    assert cluster.primary.first_start.waited_for
    assert cluster.roster.worker(1).signals[-1] is signal.SIGKILL
    cluster.roster.died(1)
    assert not cluster.reactor.stopped
    cluster.roster.pool_died(1)
    assert cluster.reactor.stopped


def test_one_that_is_not_waited_for_goes_on(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.done()
    cluster.roster.died(2, EXIT_1)
    assert cluster.primary.ending.failure is None
    assert cluster.primary.error == "worker 2 (slot 1, pid 10002) exited with status 1"
    assert when_done(cluster, 0.2) == [(0.1, "fork 1/1")]


@pytest.mark.parametrize("waited_for", [False, True])
def test_an_app_that_does_not_load_ends_it(fake: StartFake, waited_for: bool) -> None:
    cluster = fake(on_ready=(lambda: None) if waited_for else None)
    cluster.primary.start()
    generation = cluster.roster.generations[0]
    cluster.roster.events.app_failed(generation, "SyntaxError", "a traceback")
    failure = cluster.primary.ending.failure
    assert failure
    assert (str(failure), failure.detail) == ("SyntaxError", "a traceback")
    cluster.roster.pool_died(1, EXIT_1)
    assert cluster.reactor.stopped
    assert cluster.done() == ["launch 1"]


def test_a_pool_that_dies_before_it_ends_it(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    cluster.roster.pool_died(1)
    assert str(cluster.primary.ending.failure) == (
        "the pool was killed by SIGKILL while the app was being loaded"
    )
    assert cluster.done() == ["launch 1"]
    assert cluster.reactor.stopped


def test_without_a_process_for_the_pool_it_ends(fake: StartFake) -> None:
    cluster = fake()
    cluster.roster.out_of_processes = True
    cluster.primary.start()
    cluster.reactor.advance(0.1)
    assert str(cluster.primary.ending.failure).startswith("the pool could not be started: ")
    assert cluster.reactor.stopped


def test_a_listener_that_may_not_be_opened_to_its_users_ends_it(fake: StartFake) -> None:
    class Listener:
        address = "unix:/tmp/sock"

        def admit(self, umask: int, uid: int, gid: int) -> None:
            raise PermissionError(1, "Operation not permitted")

    cluster = fake()
    cluster.primary.listeners.append(Listener())  # type: ignore[arg-type]
    cluster.primary.start()
    cluster.roster.events.pool_configured(Configured(0o22, 0, 0))
    assert str(cluster.primary.ending.failure) == (
        "cannot listen on unix:/tmp/sock: Operation not permitted"
    )


# Deaths


def test_a_worker_that_had_lived_is_replaced_at_once(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.gone(1)
    assert cluster.done() == ["fork 1/0"]
    assert serving(cluster) == [2]
    assert "rescue 1" in cluster.traffic.done
    assert cluster.primary.record.restarts["crash"] == 1
    cluster.roster.ready(3)
    assert serving(cluster) == [3, 2]


def test_a_crash_loop_is_slowed_down_and_needs_no_event_to_go_on(fake: StartFake) -> None:
    cluster = fake(workers=1, max_restarts=5)
    cluster.primary.start()
    cluster.roster.loaded(1)
    assert cluster.done() == ["launch 1", "fork 1/0"]
    forks: list[tuple[float, str]] = []
    for worker in range(1, 5):
        cluster.roster.died(worker, EXIT_1)
        forks += when_done(cluster, 0.1 * 1.5 ** (worker - 1) + 0.0125)
    assert forks == [
        (0.1, "fork 1/0"),
        (0.25, "fork 1/0"),
        (0.475, "fork 1/0"),
        (0.8125, "fork 1/0"),
    ]


def test_after_too_many_failed_starts_it_gives_up_until_it_is_told_to_try_again(
    fake: StartFake,
) -> None:
    cluster = fake(max_restarts=3)
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.roster.died(1, EXIT_1)
    cluster.roster.died(2, EXIT_1)
    cluster.reactor.advance(1)
    cluster.roster.died(3, EXIT_1)
    assert cluster.primary.state is ClusterState.ERRORED
    assert not cluster.traffic.hopeless, "one is still being started"
    cluster.roster.died(4, EXIT_1)
    assert cluster.primary.error == "worker 4 (slot 1, pid 10004) exited with status 1"
    assert cluster.traffic.hopeless
    cluster.done()
    assert when_done(cluster, 30) == []
    outcome = FakeOutcome()
    with pytest.raises(LauncherError, match="exited with status 1: reload or restart it first"):
        cluster.primary.scale(cluster.primary.settings.sized(3, 3, ""), outcome)
    cluster.primary.restart(outcome)
    assert not cluster.traffic.hopeless
    cluster.roster.loaded(2)
    assert cluster.done() == ["launch 2", "dismiss 1", "fork 2/0", "fork 2/1"]


def test_what_was_wrong_is_over_once_all_have_stood_up(fake: StartFake) -> None:
    """A reason from hours ago is not shown again, e.g. while more workers are started."""
    cluster = fake().stood_up()
    cluster.roster.died(1, EXIT_1)
    cluster.roster.ready(3)
    assert cluster.primary.error == "worker 1 (slot 0, pid 10001) exited with status 1"
    cluster.reactor.advance(1)
    assert cluster.primary.error is None
    cluster.primary.step()
    cluster.primary.scale(cluster.primary.settings.sized(4, 4, ""), FakeOutcome())
    assert cluster.primary.error is None


def test_the_workers_of_a_lost_pool_serve_until_those_of_the_next_do(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.pool_died(1)
    assert cluster.done() == ["launch 2"]
    assert serving(cluster) == [1, 2]
    cluster.roster.loaded(2)
    cluster.roster.ready(3)
    assert serving(cluster) == [1, 2]
    cluster.roster.ready(4)
    assert serving(cluster) == [3, 4]
    assert cluster.done() == ["fork 2/0", "fork 2/1", "retire 1 crash", "retire 2 crash"]
    assert cluster.primary.record.restarts == {
        "crash": 1,
        "timeout": 0,
        "memory": 0,
        "recycle": 0,
        "reload": 0,
    }


def test_what_cannot_be_forked_is_tried_again(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    cluster.roster.out_of_descriptors = True
    cluster.roster.loaded(1)
    assert cluster.done() == ["launch 1", "no fork 1/0"]
    assert when_done(cluster, 0.1) == [(0.1, "no fork 1/0")]
    cluster.roster.out_of_descriptors = False
    assert when_done(cluster, 0.1) == [(0.2, "fork 1/0"), (0.2, "fork 1/1")]


def test_so_is_a_pool_that_cannot_be_started_later_on(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.out_of_processes = True
    cluster.roster.pool_died(1)
    assert cluster.done() == ["no pool"]
    assert cluster.primary.ending.failure is None
    cluster.roster.out_of_processes = False
    assert [text for _, text in when_done(cluster, 0.2)] == ["launch 3"]


def test_a_worker_that_will_not_do_is_ended_and_replaced(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.died(2)
    cluster.roster.events.worker_unfit(cluster.roster.worker(3), "was not ready within 30 s")
    assert cluster.roster.worker(3).signals == [signal.SIGKILL]
    assert cluster.primary.error == "worker 3 (slot 1, pid 10003) was not ready within 30 s"


def test_one_that_was_not_even_forked_ends_its_pool(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.died(2)
    worker = cluster.roster.worker(3)
    worker.pid = None
    cluster.roster.events.worker_unfit(worker, "was not ready within 30 s")
    generation = cluster.roster.generations[0]
    assert generation.signals == [signal.SIGKILL]
    assert generation.error == "worker 3 (slot 1, pid None) was not ready within 30 s"


# Workers that leave


def test_one_that_leaves_by_itself_is_replaced_and_counted(fake: StartFake) -> None:
    cluster = fake().stood_up()
    worker = cluster.roster.worker(1)
    cluster.roster.events.worker_retires(worker, "a request is overdue", "timeout")
    assert cluster.done() == ["retire 1 timeout", "fork 1/0"]
    assert serving(cluster) == [2]
    cluster.roster.died(1, 0)
    assert cluster.primary.record.restarts["timeout"] == 1
    assert cluster.primary.record.restarts["crash"] == 0
    assert cluster.primary.record.last_exits[0].reason == "timeout"
    assert cluster.primary.error is None


def test_spent_workers_are_replaced_one_at_a_time(fake: StartFake) -> None:
    cluster = fake(workers=3).stood_up()
    for each in (1, 2):
        cluster.roster.events.worker_spent(cluster.roster.worker(each))
    assert cluster.done() == ["fork 1/0"]
    assert serving(cluster) == [3], "the spent ones are not dealt to"
    cluster.roster.ready(4)
    assert cluster.done() == ["retire 1 scale"]
    cluster.primary.step()
    assert cluster.done() == ["fork 1/1"]
    cluster.roster.died(1, 0)
    assert cluster.primary.record.restarts["recycle"] == 1
    assert serving(cluster) == [4, 3]


def test_where_all_are_spent_they_go_on_after_half_a_second(fake: StartFake) -> None:
    cluster = fake(workers=1).stood_up()
    worker = cluster.roster.worker(1)
    cluster.roster.events.worker_spent(worker)
    assert serving(cluster) == []
    cluster.reactor.advance(0.4999)
    assert serving(cluster) == []
    cluster.reactor.advance(0.0001)
    assert serving(cluster) == [1]
    assert not worker.paused
    assert cluster.done() == ["fork 1/0"]


def test_the_pool_in_charge_is_told_of_the_dead(fake: StartFake) -> None:
    cluster = fake().stood_up()
    told: list[object] = []

    def tell(message: object, descriptors: tuple[int, ...] = ()) -> bool:
        told.append((message, *descriptors))
        return True

    cluster.roster.generations[0].tell = tell  # type: ignore[method-assign]
    cluster.roster.events.died_without_pool(4711, 9)
    assert told == [(Buried(4711, 9),)]


# Changes


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


def test_counters_are_set_to_zero(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.worker(1).serve(5)
    cluster.roster.worker(2).serve(7)
    cluster.roster.died(2)
    assert (cluster.primary.requests, cluster.primary.record.restarts["crash"]) == (12, 1)
    cluster.primary.reset()
    assert (cluster.primary.requests, cluster.primary.record.restarts["crash"]) == (0, 0)


def test_a_signal_goes_to_every_worker_that_exists(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.worker(2).pid = None
    assert cluster.primary.signal(signal.SIGUSR1) == 1
    assert cluster.roster.worker(1).signals == [signal.SIGUSR1]
    assert cluster.roster.worker(2).state is WorkerState.ONLINE
