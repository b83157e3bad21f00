"""What the primary tells: running requests without their queries, and times lately."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.ipc.notes import LINE, Activity
from launcher.ipc.scoreboard import Scoreboard, create
from launcher.primary.insight.activity import Latencies, request_line

FAST, SLOW = 20_000, 2_000_000_000


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        (b"GET /a HTTP/1.1\r\nHost: b\r\n", "GET /a"),
        (b"GET /a?token=secret HTTP/1.1\r\n", "GET /a?…"),
        (b"POST /upload", "POST /upload"),
        (b"GET /" + b"x" * (LINE - 5), "GET /" + "x" * (LINE - 5) + "…"),
        (b"GET /?" + b"x" * (LINE - 6), "GET /?…"),
        (b"GET /" + b"x" * (LINE - 10) + b" HTT", "GET /" + "x" * (LINE - 10)),
        (b"GET /\xff\xc3\xa9 HTTP/1.1\r\n", "GET /\\xff\u00e9"),
        (b"", " "),
    ],
)
def test_method_and_path_but_never_the_query(noted: bytes, told: str) -> None:
    assert request_line(Activity(0, noted)) == told


class FakeReactor:
    """A clock that only moves when told, and its timers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any]] = []

    def clock(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Any) -> None:
        self.timers.append((self.now + delay, call))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t[0] <= end), key=lambda timer: timer[0]):
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end


class Watched:
    """A primary with one worker, as far as `Latencies` looks."""

    def __init__(self) -> None:
        fd = create(2)
        self.row = Scoreboard(fd, 2).row(0)
        os.close(fd)
        self.reactor = FakeReactor()
        worker = SimpleNamespace(id=7, row=self.row)
        roster = SimpleNamespace(workers=lambda: [worker])
        primary: Any = SimpleNamespace(reactor=self.reactor, roster=roster)
        self.latencies = Latencies(primary)

    def serve(self, took: int, times: int = 1) -> None:
        for _ in range(times):
            self.row.pad(0).end(took)

    def counted(self) -> int:
        return sum(self.latencies.by_worker()[7])


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_who_asks_first_gets_all_since_the_start(watched: Watched) -> None:
    watched.serve(FAST, 5)
    assert watched.counted() == 5


def test_later_only_the_last_seconds_count(watched: Watched) -> None:
    watched.serve(SLOW, 5)
    watched.counted()
    for _ in range(20):
        watched.reactor.advance(1)
        watched.serve(FAST)
        assert watched.counted() <= 6
    assert watched.counted() == 5


def test_nobody_is_sampled_for_once_nobody_asks(watched: Watched) -> None:
    watched.counted()
    watched.reactor.advance(9)
    assert len(watched.reactor.timers) == 1
    watched.reactor.advance(5)
    assert not watched.reactor.timers
    watched.serve(FAST, 3)
    assert watched.counted() == 3
    assert len(watched.reactor.timers) == 1


def test_counters_set_to_zero(watched: Watched) -> None:
    watched.serve(SLOW, 5)
    watched.latencies.clear()
    assert watched.counted() == 0
    watched.serve(FAST)
    watched.latencies.clear()
    assert watched.counted() == 0
    assert len(watched.reactor.timers) == 1, "sampling goes on once, not twice"
