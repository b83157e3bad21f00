"""Planned changes under load: reload, restart, scale, recycling. Nobody notices."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.faults.tools import (
    assert_no_post_doubled,
    assert_nothing_lost,
    control,
    name_of,
    pids,
    progress,
)
from tests.faults.wire import Wire, get, worker_of
from tests.load import Load
from tests.support import Cluster, StartCluster, children, eventually, online, sized

TIMES = sized(8, 20)
LEAST_REQUESTS = sized(5_000, 20_000)


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Where the app writes down what it ran."""
    return tmp_path / "count"


@pytest.fixture
def cluster(start_cluster: StartCluster, counts: Path) -> Cluster:
    return start_cluster("echo:app", "-w", "2", COUNT_FILE=str(counts)).ready()


def mixed_load(cluster: Cluster) -> Load:
    return Load(cluster.address, keep_alive=64, one_shot=16, post_every=3)


def test_many_reloads_lose_nothing(cluster: Cluster, counts: Path) -> None:
    with mixed_load(cluster) as load, Wire(cluster.address) as kept:
        served_by = [worker_of(kept.ask())]
        for _ in range(TIMES):
            progress(load, 1)
            control(cluster, "reload")
            served_by.append(another_worker(kept, served_by))
        eventually(lambda: load.books.answered >= LEAST_REQUESTS, within=120)
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)
    status = cluster.status()
    assert status["generation"] == TIMES + 1
    assert status["restarts"] == {
        "crash": 0, "timeout": 0, "memory": 0, "recycle": 0, "reload": TIMES, "restart": 0
    }  # fmt: skip
    eventually(lambda: len(children(cluster.pid)) == 1)


def another_worker(kept: Wire, before: list[int]) -> int:
    """Who serves a connection once those who served it before have let it go."""

    def ask() -> int:
        worker = worker_of(kept.ask())
        assert worker not in before
        return worker

    return eventually(ask)


def test_reloads_lose_nothing_while_every_thread_is_busy(cluster: Cluster, counts: Path) -> None:
    path = "/echo/{token}?sleep=0.05"
    with Load(cluster.address, keep_alive=24, one_shot=8, post_every=3, path=path) as load:
        for _ in range(5):
            progress(load, 1)
            control(cluster, "reload")
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)


def test_many_scalings_lose_nothing(cluster: Cluster, counts: Path) -> None:
    with mixed_load(cluster) as load:
        for _ in range(TIMES):
            for to in ("4", "1", "2"):
                control(cluster, "scale", to=to)
                assert len(cluster.workers()) == int(to)
            progress(load, 1)
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)
    assert cluster.status()["restarts"]["crash"] == 0
    eventually(lambda: len(cluster.status()["workers"]) == 2)


def test_restarts_lose_nothing(cluster: Cluster, counts: Path) -> None:
    with mixed_load(cluster) as load:
        for _ in range(3):
            progress(load, 1)
            before = pids(cluster)
            control(cluster, "restart")
            assert not {*before.values()} & {*pids(cluster).values()}
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)


def test_the_commands_do_it_too(cluster: Cluster) -> None:
    name = name_of(cluster)
    with mixed_load(cluster) as load:
        for arguments in (["reload", name], ["scale", name, "+1"], ["restart", name]):
            progress(load, 1)
            done = cluster.command(*arguments)
            assert (done.returncode, done.stderr) == (0, "")
        again = cluster.command("scale", name, "3")
        books = load.stop()
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert len(cluster.workers()) == 3
    assert_nothing_lost(books)


def test_a_second_change_meanwhile_is_refused(start_cluster: StartCluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    cluster = start_cluster("gate:app", "-w", "2", GATE=str(gate)).ready()
    before = pids(cluster)
    gate.unlink()
    with ThreadPoolExecutor() as pool:
        change = pool.submit(control, cluster, "reload")
        eventually(lambda: cluster.status()["status"] == "reloading")
        for again in (
            partial(control, cluster, "reload"),
            partial(control, cluster, "restart"),
            partial(control, cluster, "scale", to="3"),
        ):
            with pytest.raises(LauncherError, match="a reload is under way"):
                again()
        assert pids(cluster) == before, "the old workers serve"
        gate.touch()
        assert change.result(30) == {"generation": 2, "workers": 2}


def recycled(cluster: Cluster, load: Load, cause: str, times: int) -> None:
    """Wait until so many workers were recycled; never is a slot without its worker."""

    def look() -> bool:
        status = cluster.status()
        slots = {worker["slot"] for worker in online(status)}
        assert slots == {0, 1}, status["workers"]
        return bool(load.books.failures) or status["restarts"][cause] >= times

    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("limit", [("--max-requests", "300"), ("--max-lifetime", "1.5")])
def test_recycling_loses_nothing(
    start_cluster: StartCluster, counts: Path, limit: tuple[str, str]
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", *limit, COUNT_FILE=str(counts)).ready()
    with Load(cluster.address, keep_alive=32, one_shot=8, post_every=3) as load:
        recycled(cluster, load, "recycle", 4)
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)
    assert cluster.status()["restarts"]["crash"] == 0


def test_a_worker_that_has_grown_too_large_is_replaced(
    start_cluster: StartCluster, counts: Path
) -> None:
    options = ("--max-memory", "90M")
    cluster = start_cluster("faulty:app", "-w", "2", *options, COUNT_FILE=str(counts)).ready()
    before = {*pids(cluster).values()}
    with Load(cluster.address, keep_alive=32, one_shot=8, post_every=3) as load:
        progress(load)
        grown = worker_of(get(cluster.address, "/grow/128"))
        recycled(cluster, load, "memory", 1)
        books = load.stop()
    assert_nothing_lost(books)
    assert_no_post_doubled(books, counts)
    eventually(lambda: grown not in [w["id"] for w in cluster.status()["workers"]])
    assert len(before & {*pids(cluster).values()}) == 1, "the other one stays"
