"""The primary's step: histories of what happens, and what it has done then, at exact times."""

from __future__ import annotations

import signal

import pytest

from launcher.errors import LauncherError
from launcher.ipc.messages import Buried
from launcher.policy.lifecycle import ClusterState, WorkerState
from tests.fake_cluster import FakeOutcome
from tests.primary.cluster.conftest import EXIT_1, StartFake, serving, when_done

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
        "restart": 0,
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


def test_a_worker_that_could_not_be_forked_is_told_of(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.roster.died(2)
    worker = cluster.roster.worker(3)
    cluster.done()
    cluster.roster.gone(3)
    cluster.roster.events.spawn_failed(worker, "Resource temporarily unavailable")
    assert cluster.primary.error == (
        "worker 3 (slot 1, pid 10003) could not be forked: Resource temporarily unavailable"
    )
    assert [text for _, text in when_done(cluster, 0.2)] == ["fork 1/1"]


def test_a_health_check_comes_before_the_first_connection(fake: StartFake) -> None:
    cluster = fake(workers=1, health_path="/health")
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.roster.ready(1)
    worker = cluster.roster.worker(1)
    assert worker.state is WorkerState.LAUNCHING
    assert serving(cluster) == []
    (request,) = worker.asked()
    assert request.recv(1000).startswith(b"GET /health HTTP/1.1\r\n")
    request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    cluster.reactor.look()
    assert serving(cluster) == [1]


@pytest.mark.parametrize(
    ("answer", "problem"), [(b"HTTP/1.1 503 No\r\n", "503 No"), (b"", "no answer")]
)
def test_one_that_is_not_well_is_ended(fake: StartFake, answer: bytes, problem: str) -> None:
    cluster = fake(workers=1, health_path="/health")
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.roster.ready(1)
    worker = cluster.roster.worker(1)
    (request,) = worker.asked()
    request.sendall(answer)
    request.close()
    cluster.reactor.look()
    assert worker.signals == [signal.SIGKILL]
    assert cluster.primary.error == (
        f"worker 1 (slot 0, pid 10001) answered its health check with: {problem}"
    )
