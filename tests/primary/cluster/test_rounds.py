"""The rounds, once a second: which workers are ended because they are frozen, which replaced."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from launcher.primary.cluster import rounds
from launcher.primary.cluster.rounds import Rounds
from tests.fake_cluster import FakeCluster
from tests.primary.cluster.conftest import StartFake

MIB = 1 << 20


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the kernel tells of workers: ``cpu`` by thread, ``rss`` by pid, who is stopped."""
    told = SimpleNamespace(cpu={}, rss={}, stopped=set())
    monkeypatch.setattr(rounds, "thread_cpu", lambda pid, thread: told.cpu.get(thread, 0.0))
    monkeypatch.setattr(rounds, "is_stopped", lambda pid: pid in told.stopped)
    monkeypatch.setattr(
        rounds, "usage", lambda pid: SimpleNamespace(rss=told.rss.get(pid, 0), cpu=0.0)
    )
    monkeypatch.setattr(rounds, "proportional_memory", lambda pid: told.rss.get(pid, 0))
    return told


def beat(cluster: FakeCluster, *ids: int) -> None:
    for each in ids:
        cluster.roster.worker(each).row.heartbeat += 1


def run(cluster: FakeCluster, seconds: int, *alive: int) -> None:
    """Let time pass, in which these workers give signs of life."""
    for _ in range(seconds):
        beat(cluster, *alive)
        cluster.reactor.advance(1)


def test_a_frozen_worker_is_ended_two_seconds_after_the_timeout(
    fake: StartFake, processes: SimpleNamespace
) -> None:
    cluster = fake(timeout=5.0).stood_up()
    Rounds(cluster.primary).start()
    frozen = cluster.roster.worker(1)
    for thread, serial in enumerate((70, 71, 72)):
        pad = frozen.row.pad(thread)
        pad.sign(900 + thread)
        began = cluster.reactor.now - (10 if serial < 72 else -5)
        pad.begin(serial, True, round(began * 1e9), 0, 0, 20, b"GET / HTTP/1.1\r\n")
    run(cluster, 8, 2)
    assert (frozen.leaving, frozen.signals) == (None, [])
    run(cluster, 1, 2)
    assert frozen.leaving
    assert (frozen.leaving.why, frozen.leaving.counted) == ("timeout", True)
    processes.cpu = {900: 0.4, 901: 0.01}
    cluster.reactor.advance(0.4999)
    assert frozen.signals == []
    cluster.reactor.advance(0.0001)
    assert frozen.signals == [signal.SIGABRT]
    assert frozen.overdue == {70}, "the other waits for this one, and the third is not late"
    cluster.reactor.advance(0.5)
    assert frozen.signals == [signal.SIGABRT, signal.SIGKILL]
    cluster.roster.died(1, signal.SIGKILL)
    assert cluster.primary.record.restarts["timeout"] == 1
    assert cluster.roster.worker(2).signals == []


def test_no_request_is_to_blame_for_a_worker_that_was_stopped(
    fake: StartFake, processes: SimpleNamespace
) -> None:
    cluster = fake(timeout=1.0).stood_up()
    Rounds(cluster.primary).start()
    frozen = cluster.roster.worker(1)
    frozen.row.pad(0).begin(70, True, 1, 0, 0, 20, b"GET / HTTP/1.1\r\n")
    processes.stopped.add(frozen.pid)
    run(cluster, 6, 2)
    assert signal.SIGABRT in frozen.signals
    assert frozen.overdue == frozenset()


@pytest.mark.usefixtures("processes")
def test_one_that_starts_is_not_looked_at_and_without_a_timeout_none(fake: StartFake) -> None:
    cluster = fake(timeout=1.0)
    cluster.primary.start()
    cluster.roster.loaded(1)
    Rounds(cluster.primary).start()
    run(cluster, 20)
    patient = fake(timeout=0.0).stood_up()
    Rounds(patient.primary).start()
    run(patient, 20)
    for each in (cluster, patient):
        assert [worker.signals for worker in each.roster.workers()] == [[], []]


@pytest.mark.usefixtures("processes")
def test_the_time_in_which_the_primary_stood_still_does_not_count(fake: StartFake) -> None:
    cluster = fake(timeout=5.0).stood_up()
    Rounds(cluster.primary).start()
    run(cluster, 1, 1, 2)
    cluster.reactor.now += 3600
    cluster.reactor.advance(1)
    assert cluster.roster.worker(1).leaving is None


def test_too_much_memory_in_two_rounds_in_a_row_has_a_worker_replaced(
    fake: StartFake, processes: SimpleNamespace
) -> None:
    cluster = fake(max_memory=100 * MIB).stood_up()
    Rounds(cluster.primary).start()
    processes.rss = {10_001: 101 * MIB, 10_002: 101 * MIB}
    run(cluster, 1, 1, 2)
    assert cluster.done() == []
    run(cluster, 1, 1, 2)
    assert cluster.done() == ["fork 1/0"], "one at a time"
    run(cluster, 3, 1, 2, 3)
    assert cluster.done() == []
    cluster.roster.ready(3)
    assert cluster.done() == ["retire 1 scale"]
    cluster.roster.died(1, 0)
    assert cluster.primary.record.restarts["memory"] == 1
    assert cluster.primary.record.last_exits[0].reason == "memory"
    run(cluster, 2, 2, 3)
    assert cluster.done() == ["fork 1/1"]


@pytest.mark.usefixtures("processes")
def test_what_has_served_for_long_is_replaced_staggered_by_slot(fake: StartFake) -> None:
    cluster = fake(max_lifetime=100.0).stood_up()
    Rounds(cluster.primary).start()
    run(cluster, 98, 1, 2)
    assert cluster.done() == []
    run(cluster, 1, 1, 2)
    assert cluster.done() == ["fork 1/0"]
    cluster.roster.ready(3)
    cluster.roster.died(1, 0)
    cluster.done()
    run(cluster, 24, 2, 3)
    assert cluster.done() == []
    run(cluster, 1, 2, 3)
    assert cluster.done() == ["fork 1/1"]
    assert cluster.primary.record.restarts["recycle"] == 1


@pytest.mark.usefixtures("processes")
def test_an_order_that_a_worker_was_behind_for_is_given_again(fake: StartFake) -> None:
    cluster = fake().stood_up()
    Rounds(cluster.primary).start()
    worker = cluster.roster.worker(1)
    worker.fall_behind()
    cluster.primary.ending.stop()
    worker.catch_up()
    run(cluster, 1)
    assert [type(message).__name__ for message in worker.heard()] == ["Drain", "Retire"]
