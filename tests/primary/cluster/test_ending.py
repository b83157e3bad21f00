"""The end of a cluster, phase by phase, at exact times."""

from __future__ import annotations

import signal

from launcher.errors import LauncherError
from launcher.ipc.messages import Drain, Resume, Retire
from launcher.primary.cluster.ending import Phase
from tests.fake_cluster import FakeCluster
from tests.primary.cluster.conftest import StartFake


def phase(cluster: FakeCluster) -> Phase:
    return cluster.primary.ending.phase


def test_those_that_are_connecting_come_in_then_the_workers_leave(fake: StartFake) -> None:
    cluster = fake().stood_up()
    ending, roster, traffic = cluster.primary.ending, cluster.roster, cluster.traffic
    assert not ending.begun
    ending.stop()
    assert phase(cluster) is Phase.ARRIVING
    assert str(cluster.primary.state) == "stopping"
    assert traffic.done[-1] == "admit no more"
    assert [roster.worker(each).heard() for each in (1, 2)] == [[Drain()], [Drain()]]
    assert cluster.done() == []
    cluster.reactor.advance(0.0999)
    assert phase(cluster) is Phase.ARRIVING
    cluster.reactor.advance(0.0001)
    assert phase(cluster) is Phase.LEAVING
    assert traffic.done[-1] == "end"
    assert cluster.done() == ["retire 1 stop, finally", "retire 2 stop, finally"]
    assert roster.worker(1).heard() == [Retire(final=True)]
    roster.died(1, 0)
    assert cluster.done() == [], "it is not replaced"
    roster.died(2, 0)
    assert cluster.done() == ["dismiss 1"]
    assert not cluster.reactor.stopped
    roster.pool_died(1, 0)
    assert cluster.reactor.stopped
    assert ending.failure is None
    assert cluster.primary.record.last_exits[0].reason == "stop"
    assert cluster.primary.record.restarts["crash"] == 0


def test_a_worker_that_dies_meanwhile_is_dealt_to_no_more(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.primary.ending.stop()
    cluster.roster.died(1)
    assert cluster.traffic.ring == [2]
    assert cluster.done() == []
    assert cluster.primary.record.restarts["crash"] == 0


def test_so_is_one_that_leaves_by_itself(fake: StartFake) -> None:
    cluster = fake().stood_up()
    cluster.primary.ending.stop()
    worker = cluster.roster.worker(2)
    cluster.roster.events.worker_retires(worker, "it was asked to by SIGTERM", "")
    assert cluster.traffic.ring == [1]


def test_one_that_retires_already_is_told_that_this_is_the_end(fake: StartFake) -> None:
    cluster = fake().stood_up()
    worker = cluster.roster.worker(1)
    cluster.roster.events.worker_retires(worker, "it was asked to by SIGTERM", "")
    worker.heard()
    cluster.primary.ending.stop()
    assert worker.heard() == [Drain(), Retire(final=True)]
    assert cluster.roster.worker(2).heard() == [Drain()]


def test_spent_workers_serve_again(fake: StartFake) -> None:
    cluster = fake().stood_up()
    first, second = cluster.roster.worker(1), cluster.roster.worker(2)
    cluster.roster.events.worker_spent(first)
    cluster.primary.ending.stop()
    assert first.heard() == [Drain(), Resume()]
    second.heard()
    cluster.roster.events.worker_spent(second)
    assert second.heard() == [Resume()]
    assert (first.paused, second.paused) == (False, False)


def test_a_cluster_that_is_starting_leaves_at_once(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    cluster.roster.loaded(1)
    cluster.primary.ending.stop()
    assert phase(cluster) is Phase.LEAVING
    assert cluster.roster.worker(1).signals[0] is signal.SIGKILL
    assert cluster.roster.worker(1).heard() == [Drain(), Retire(final=True)]


def test_a_pool_that_loads_the_app_is_not_waited_for(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    cluster.primary.ending.stop()
    assert cluster.roster.generations[0].signals == [signal.SIGKILL]
    cluster.roster.pool_died(1)
    assert cluster.reactor.stopped


def test_what_is_late_is_killed(fake: StartFake) -> None:
    cluster = fake(graceful_timeout=7.0).stood_up()
    cluster.primary.ending.stop()
    cluster.roster.died(2, 0)
    worker = cluster.roster.worker(1)
    cluster.reactor.advance(6.999)
    assert signal.SIGKILL not in worker.signals
    cluster.reactor.advance(0.001)
    assert worker.signals[-1] is signal.SIGKILL
    assert phase(cluster) is Phase.KILLED
    assert cluster.roster.generations[0].signals == [signal.SIGKILL]
    assert cluster.primary.ending.failure is None, "it was asked to end"


def test_last_words_are_waited_for(fake: StartFake) -> None:
    cluster = fake(workers=1).stood_up()
    cluster.primary.ending.stop()
    cluster.reactor.advance(0.1)
    cluster.traffic.taking_leave = True
    cluster.roster.died(1, 0)
    cluster.roster.pool_died(1, 0)
    cluster.reactor.advance(1)
    assert not cluster.reactor.stopped
    cluster.traffic.taking_leave = False
    cluster.reactor.advance(0.1)
    assert cluster.reactor.stopped


def test_but_not_by_one_that_is_killed(fake: StartFake) -> None:
    cluster = fake(workers=1).stood_up()
    cluster.traffic.taking_leave = True
    cluster.primary.ending.kill()
    assert phase(cluster) is Phase.KILLED
    assert cluster.roster.worker(1).signals[-1] is signal.SIGKILL
    cluster.roster.died(1)
    cluster.roster.pool_died(1)
    assert cluster.reactor.stopped


def test_an_interrupt_stops_and_the_second_cuts(fake: StartFake) -> None:
    cluster = fake().stood_up()
    ending = cluster.primary.ending
    ending.interrupt()
    assert (phase(cluster), ending.failure) == (Phase.ARRIVING, None)
    ending.interrupt()
    assert phase(cluster) is Phase.KILLED
    assert str(ending.failure) == "interrupted again: stopped at once, 0 running requests were cut"


def test_a_phase_never_comes_back_and_the_first_failure_counts(fake: StartFake) -> None:
    cluster = fake().stood_up()
    ending = cluster.primary.ending
    ending.stop()
    ending.fail(LauncherError("the first"))
    ending.fail(LauncherError("the second"))
    ending.stop(keep_entry=True)
    assert str(ending.failure) == "the first"
    assert phase(cluster) is Phase.KILLED
    assert ending.keep_entry
    cluster.done()
    cluster.reactor.advance(100)
    assert phase(cluster) is Phase.KILLED
    assert cluster.done() == []
