"""What a primary tells of workers that have yet to come, or whose figures are not of one moment."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from launcher.config.settings import Settings
from launcher.primary.cluster.record import Record
from launcher.primary.insight.status import report
from tests.fakes import FakeReactor, FakeWorker


class Traffic:
    """Seven connections, of which two requests wait in the primary."""

    waiting = 2

    def __len__(self) -> int:
        return 7


def primary_of(reactor: FakeReactor, workers: list[FakeWorker], empty: list[int]) -> Any:
    """As far as `report` looks."""
    return SimpleNamespace(
        settings=Settings(threads="2:6"),
        reactor=reactor,
        roster=SimpleNamespace(workers=lambda: workers),
        empty_slots=lambda: empty,
        state="online",
        listeners=[],
        current=None,
        started=reactor.now,
        wanted=2,
        traffic=Traffic(),
        requests=0,
        record=Record(),
        error=None,
    )


def test_streams_are_a_part_of_what_runs_and_waiting_is_everywhere() -> None:
    """A worker counts its streams now and then, its requests at once."""
    with ExitStack() as stack:
        reactor = FakeReactor()
        stack.callback(reactor.close)
        worker = FakeWorker(0, stack, threads=6)
        worker.row.pad(0).begin(1, True, 1, 0, 0, 0, b"GET / HTTP/1.1\r\n")
        worker.row.living, worker.row.streaming, worker.row.waiting = 3, 2, 5
        told = report(primary_of(reactor, [worker], []))
        (entry,) = told["workers"]
    assert (told["waiting"], told["active"], told["streaming"]) == (7, 1, 1)
    assert (entry["active"], entry["streaming"]) == (1, 1)
    assert (entry["threads"], entry["threads_max"]) == (3, 6)


def test_a_slot_without_a_worker_has_the_same_keys() -> None:
    with ExitStack() as stack:
        reactor = FakeReactor()
        stack.callback(reactor.close)
        told = report(primary_of(reactor, [FakeWorker(0, stack, threads=6)], [1]))
        worker, slot = told["workers"]
    assert [*slot] == [*worker]
    assert {slot[key] for key in ("active", "streaming", "threads")} == {0}
    assert slot["threads_max"] == 6
