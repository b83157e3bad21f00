"""The first start: until all workers are ready for once, and what spoils it."""

from __future__ import annotations

import signal

import pytest

from launcher.ipc.messages import Configured
from launcher.policy.lifecycle import ClusterState
from tests.primary.cluster.conftest import EXIT_1, StartFake, serving, when_done


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
