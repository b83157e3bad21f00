"""Requests and processes that stand still: ended in time, alone, and told why."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.faults.tools import (
    assert_nothing_lost,
    freeze,
    frozen,
    pass_time,
    pids,
    posts_run,
    progress,
)
from tests.faults.wire import Wire, get, request, worker_of
from tests.load import Load
from tests.support import Cluster, StartCluster, eventually

TIMEOUT = 1.0
FROZEN_AFTER = TIMEOUT + 2
"""When the primary ends a worker that gives no sign of life (watch.py)."""

LATE = 6.0
"""Seconds over that for a busy machine."""

QUICK = "/echo/{token}"
BUSY = "/echo/{token}?sleep=0.05"


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Where the app writes down what it ran."""
    return tmp_path / "count"


@pytest.fixture
def cluster(start_cluster: StartCluster, counts: Path) -> Cluster:
    options = ("--timeout", f"{TIMEOUT:g}")
    return start_cluster("faulty:app", "-w", "2", *options, COUNT_FILE=str(counts)).ready()


def stacks(cluster: Cluster, function: str) -> int:
    """How often the log shows a stack that ends in a function of the app."""
    return len(re.findall(rf"in {function}$", cluster.log, re.M))


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("sleep", QUICK),
        pytest.param("sleep", BUSY, marks=pytest.mark.long),
        pytest.param("lock", QUICK, marks=pytest.mark.long),
        ("lock", BUSY),
        pytest.param("loop", QUICK, marks=pytest.mark.long),
        ("loop", BUSY),
    ],
)
def test_a_request_that_hangs_gets_504_alone(cluster: Cluster, how: str, path: str) -> None:
    before = {*pids(cluster).values()}
    with Load(cluster.address, keep_alive=12, one_shot=4, path=path) as load:
        progress(load)
        started = time.monotonic()
        reply = get(cluster.address, f"/hang/{how}")
        took = time.monotonic() - started
        progress(load)
        books = load.stop()
    assert reply.status == 504
    assert reply.fields["connection"] == "close"
    assert TIMEOUT <= took < TIMEOUT + LATE
    assert_nothing_lost(books)
    assert_replaced_one(cluster, before)
    assert stacks(cluster, f"hang_{how}") == 1


def assert_replaced_one(cluster: Cluster, before: set[int]) -> None:
    eventually(lambda: cluster.ready() and len(before - {*pids(cluster).values()}) == 1)
    eventually(lambda: any(cluster.status()["restarts"].values()))  # counted when it is gone
    restarts = cluster.status()["restarts"]
    assert {why: count for why, count in restarts.items() if count} == {"timeout": 1}


def test_several_that_hang_at_once_each_get_504(cluster: Cluster) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(cluster.address)) for _ in range(6)]
        for wire in wires:
            wire.get("/hang/sleep")
        assert [wire.reply().status for wire in wires] == [504] * 6
        for wire in wires:
            assert wire.rest() == b""
    eventually(cluster.ready)
    assert stacks(cluster, "hang_sleep") == 6


def test_a_hanging_post_gets_504_once(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.post("/hang/sleep", b"x" * 100).reply().status == 504
        assert wire.rest() == b""
    assert stacks(cluster, "hang_sleep") == 1


def test_a_response_that_stops_half_way_is_cut_so_that_it_shows(cluster: Cluster) -> None:
    with Wire(cluster.address) as old, Wire(cluster.address) as new:
        old.send(request("GET", "/partial/1000", version="1.0"))
        new.get("/partial/1000")
        with pytest.raises(ConnectionResetError):
            old.rest()  # a mere end would be the end of the response
        with suppress(ConnectionResetError):
            assert not new.rest().endswith(b"0\r\n\r\n")
    eventually(cluster.ready)


def test_a_slow_stream_that_goes_on_is_no_hang(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        wire.get("/drip/12/0.2", "Connection: close")
        assert wire.rest().endswith(b"0\r\n\r\n")
    assert cluster.status()["restarts"]["timeout"] == 0


def test_without_a_timeout_nothing_is_ended(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--timeout", "0").ready()
    assert get(cluster.address, "/echo/x?sleep=2.5").status == 200


# Processes that stand still


def test_a_frozen_worker_is_replaced_and_its_connections_are_answered(
    cluster: Cluster, counts: Path
) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(cluster.address)) for _ in range(20)]
        served_by = {worker_of(wire.ask()) for wire in wires}
        frozen = min(cluster.workers(), key=lambda worker: worker["slot"])
        freeze(frozen["pid"])
        for wire in wires:
            wire.get("/echo/x")
        answers = [worker_of(wire.reply()) for wire in wires]
    assert frozen["id"] in served_by
    assert frozen["id"] not in answers
    assert_replaced_one(cluster, {frozen["pid"]})
    assert posts_run(counts) == {}


@pytest.mark.long
def test_a_primary_that_stood_still_kills_nobody(cluster: Cluster) -> None:
    before = pids(cluster)
    address = cluster.address
    with Load(address, keep_alive=16, path=QUICK) as load, Wire(address) as late:
        progress(load)
        with frozen(cluster.pid):
            pass_time(FROZEN_AFTER + TIMEOUT)
            progress(load)  # keep-alive connections do without the primary
            late.get("/echo/x")
        assert late.reply().status == 200
        two_rounds_of_the_watch(cluster)
        books = load.stop()
    assert pids(cluster) == before
    assert_nothing_lost(books)


@pytest.mark.long
def test_a_machine_that_stood_still_kills_nobody(cluster: Cluster) -> None:
    before = pids(cluster)
    with ExitStack() as stack:
        for pid in (cluster.pid, *before.values()):
            stack.enter_context(frozen(pid))
        pass_time(FROZEN_AFTER + TIMEOUT)
    two_rounds_of_the_watch(cluster)
    assert pids(cluster) == before
    assert cluster.status()["restarts"]["timeout"] == 0


def two_rounds_of_the_watch(cluster: Cluster) -> None:
    """Wait until the primary, which looks every second, has done so twice more."""
    uptime = cluster.status()["uptime"]
    eventually(lambda: cluster.status()["uptime"] > uptime + 2.1)
