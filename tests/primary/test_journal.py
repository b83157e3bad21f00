"""Where facts are told: in the log, and to those that keep or count them."""

from __future__ import annotations

import re
import signal

import pytest

from launcher.events.cluster import ClusterStopped
from launcher.events.fact import Event, Worker
from launcher.events.workers import WorkerExited
from launcher.primary.journal import note, observed_by
from tests.primary.cluster.conftest import EXIT_1, StartFake, fake

__all__ = ["fake"]


def test_a_fact_is_logged_and_told_once_to_each_observer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first: list[Event] = []
    second: list[Event] = []
    with observed_by(first.append):
        with observed_by(second.append):
            note(ClusterStopped())
        note(ClusterStopped())
    note(ClusterStopped())
    assert (first, second) == ([ClusterStopped()] * 2, [ClusterStopped()])
    lines = capfd.readouterr().err.splitlines()
    assert [re.sub(r"^[-0-9]+ [:0-9]+ ", "", line) for line in lines] == ["[primary] stopped"] * 3


def test_what_is_a_matter_of_course_is_told_and_not_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen: list[Event] = []
    with observed_by(seen.append):
        note(WorkerExited(Worker(1, 0, 7, 1), "reload", 0, None, asked=True))
    assert len(seen) == 1
    assert capfd.readouterr().err == ""


def test_a_crash_loop_is_told_from_its_first_wait_to_its_end(fake: StartFake) -> None:
    seen: list[Event] = []
    with observed_by(seen.append):
        cluster = fake(workers=1, max_restarts=3)
        cluster.primary.start()
        cluster.roster.loaded(1)
        for worker in range(1, 4):
            cluster.roster.died(worker, EXIT_1)
            cluster.reactor.advance(0.1 * 1.5 ** (worker - 1))
    told = [each.values() for each in seen if each.event in ("backoff", "crash_loop")]
    assert told == [
        {"wait_seconds": pytest.approx(0.1), "failed_starts": 1},
        {"wait_seconds": pytest.approx(0.15), "failed_starts": 2},
        {"failed_starts": 3},
    ]
    exits = [each for each in seen if isinstance(each, WorkerExited)]
    assert [each.which.worker for each in exits] == [1, 2, 3]
    assert {(each.reason, each.code, each.asked) for each in exits} == {("crash", 1, False)}


def test_the_last_exit_is_what_the_event_says(fake: StartFake) -> None:
    seen: list[Event] = []
    cluster = fake().stood_up()
    with observed_by(seen.append):
        cluster.roster.died(1, signal.SIGKILL)
    (exited,) = [each for each in seen if isinstance(each, WorkerExited)]
    last = cluster.primary.record.last_exits[0]
    assert (last.id, last.signal, last.reason) == (1, "SIGKILL", "crash")
    assert (exited.which.worker, exited.signal, exited.reason) == (1, "SIGKILL", "crash")
