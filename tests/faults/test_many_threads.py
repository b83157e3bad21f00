"""An app that waits, with 32 threads of each worker at work, while workers come and go."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from launcher.worker.serving.queue import RESERVE
from tests.faults.tools import (
    assert_no_post_doubled,
    assert_nothing_lost,
    control,
    kill_one,
    pass_time,
    posts_run,
    progress,
    refused,
)
from tests.faults.wire import Wire, get
from tests.load import Books, Load
from tests.support import Cluster, StartCluster, eventually, sized

THREADS = 32

KILLS = sized(5, 10)

SHORT, LONG = "/echo/{token}?sleep=0.05", "/echo/{token}?sleep=0.5"


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Where the app writes down what it ran."""
    return tmp_path / "count"


def start(start_cluster: StartCluster, counts: Path, *options: str) -> Cluster:
    arguments = ("faulty:app", "-w", "2", "--threads", f"{THREADS}", *options)
    return start_cluster(*arguments, COUNT_FILE=str(counts)).ready()


class Crowd:
    """64 clients: requests that wait for 50 and for 500 ms."""

    def __init__(self, cluster: Cluster, post_every: int = 4) -> None:
        accept = frozenset({200, 502})
        self._loads = [
            Load(cluster.address, 32, 0, post_every, accept, path, name)
            for path, name in ((SHORT, "short-"), (LONG, "long-"))
        ]

    def __enter__(self) -> Crowd:
        for load in self._loads:
            load.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def progress(self, rounds: int = 1) -> None:
        """Wait until every client has had so many more answers."""
        for load in self._loads:
            progress(load, rounds)

    def stop(self) -> Books:
        """What both have seen."""
        short, long = (load.stop() for load in self._loads)
        return Books(
            short.answered + long.answered,
            short.failures + long.failures,
            short.statuses + long.statuses,
            reconnects=short.reconnects + long.reconnects,
            refused=short.refused | long.refused,
            confirmed=short.confirmed + long.confirmed,
        )


def test_kills_from_outside_never_cost_a_get_its_answer(
    start_cluster: StartCluster, counts: Path
) -> None:
    cluster = start(start_cluster, counts)
    chance = random.Random(KILLS)
    with Crowd(cluster) as crowd:
        crowd.progress()
        for _ in range(KILLS):
            kill_one(cluster, chance)
            pass_time(0.6)
        crowd.progress()
        books = crowd.stop()
    assert books.failures == []
    assert refused(books, "GET") == {}
    assert {*refused(books, "POST").values()} == {502}, "kills did hit running requests"
    assert_no_post_doubled(books, counts)


def test_a_get_that_crashes_its_worker_costs_two_and_none_of_the_crowd_its_answer(
    start_cluster: StartCluster, counts: Path
) -> None:
    """More, where the machine is so busy that another one may have been it."""
    cluster = start(start_cluster, counts)
    with Crowd(cluster, post_every=0) as crowd:
        crowd.progress()
        for path in ("/die", "/die/11?after=0.2"):
            before = posts_run(counts)["die"]
            assert get(cluster.address, path).status == 502
            assert 2 <= posts_run(counts)["die"] - before <= 4
            crowd.progress()
        books = crowd.stop()
    assert_nothing_lost(books)


def test_a_get_that_kills_its_worker_costs_two_alone_and_in_a_crowd_some_more(
    start_cluster: StartCluster, counts: Path
) -> None:
    """Nothing tells its SIGKILL from one of an operator's but that it comes again."""
    cluster = start(start_cluster, counts)
    assert get(cluster.address, "/die/9").status == 502
    assert posts_run(counts)["die"] == 2
    cluster.ready()
    with Crowd(cluster, post_every=0) as crowd:
        crowd.progress()
        assert get(cluster.address, "/die/9").status == 502
        crowd.progress()
        books = crowd.stop()
    assert 2 <= posts_run(counts)["die"] - 2 <= 6
    assert books.failures == []


def test_every_note_of_all_threads_is_rescued_rightly(
    start_cluster: StartCluster, counts: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arguments = ("faulty:app", "-w", "1", "--threads", f"{THREADS}")
    cluster = start_cluster(*arguments, COUNT_FILE=str(counts), GATE=str(gate)).ready()
    with ExitStack() as stack:
        # The last threads are not for paths that are new: those may be streams.
        wires = [stack.enter_context(Wire(cluster.address)) for _ in range(THREADS - RESERVE)]
        idle = stack.enter_context(Wire(cluster.address))
        assert idle.ask().status == 200
        gets, posts, streams = wires[:16], wires[16:24], wires[24:]
        for number, wire in enumerate(gets):
            wire.get(f"/wait/{number}")
        for wire in posts:
            wire.post("/hang/sleep")
        for wire in streams:
            wire.get("/partial/1000").sock.recv(1)
        eventually(lambda: cluster.workers()[0]["active"] == len(wires))
        os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
        gate.touch()
        assert [wire.reply().text for wire in gets] == [f"waited {n}" for n in range(16)]
        assert [wire.reply().status for wire in posts] == [502] * 8
        for wire in streams:
            with pytest.raises(ConnectionResetError):
                wire.rest()
        assert idle.ask().status == 200
    ran = Counter(line.split()[-1] for line in counts.read_text().splitlines() if "running" in line)
    assert ran == {f"{number}": 2 for number in range(16)}


def test_reloads_and_scalings_and_recycling_cost_nothing(
    start_cluster: StartCluster, counts: Path
) -> None:
    cluster = start(start_cluster, counts, "--max-requests", "150")
    with Crowd(cluster) as crowd:
        crowd.progress()
        control(cluster, "reload")
        control(cluster, "scale", to="3")
        crowd.progress()
        control(cluster, "scale", to="1")
        eventually(lambda: cluster.status()["restarts"]["recycle"], within=20)
        control(cluster, "restart")
        crowd.progress()
        books = crowd.stop()
    assert books.failures == []
    assert books.refused == {}
    assert_no_post_doubled(books, counts)


def test_a_timeout_costs_nobody_else_his_get(start_cluster: StartCluster, counts: Path) -> None:
    cluster = start(start_cluster, counts, "--timeout", "2")
    with Crowd(cluster) as crowd:
        crowd.progress()
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(cluster.address)) for _ in range(2)]
            for wire in wires:
                wire.get("/hang/sleep")
            assert [wire.reply().status for wire in wires] == [504, 504]
        crowd.progress()
        books = crowd.stop()
    assert books.failures == []
    assert refused(books, "GET") == {}
    assert_no_post_doubled(books, counts)
    assert cluster.status()["restarts"]["timeout"] >= 1
