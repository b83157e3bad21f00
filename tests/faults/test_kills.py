"""Workers killed under load: nobody who can be saved notices, and nothing runs twice."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from launcher.policy.blame import RECENT
from tests.faults.tools import (
    THREADS,
    assert_no_post_doubled,
    assert_nothing_lost,
    control,
    freeze,
    kill_one,
    pids,
    posts_run,
    progress,
    refused,
    seasoned,
)
from tests.faults.wire import Wire, get, worker_of
from tests.load import Books, Load
from tests.support import Cluster, StartCluster, alive, eventually, pool_of, sized

KILLS = sized(8, 20)

AT_ONCE = "/echo/{token}"
"""So many requests a second that kills hit every step between two of them."""

BUSY = "/echo/{token}?sleep=0.01"
"""Every thread runs a request all the time, so every kill hits some."""


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Where the app writes down what it ran."""
    return tmp_path / "count"


@pytest.fixture
def cluster(start_cluster: StartCluster, counts: Path) -> Cluster:
    threads = ("--threads", str(THREADS))
    cluster = start_cluster("faulty:app", "-w", "2", *threads, COUNT_FILE=str(counts))
    return cluster.ready()


def kill_many(cluster: Cluster, load: Load) -> Books:
    chance = random.Random(KILLS)
    killed = set()
    for _ in range(KILLS):
        progress(load)
        killed.add(kill_one(cluster, chance))
    progress(load)
    books = load.stop()
    assert len(killed) == KILLS
    assert killed <= {*books.workers}, "each had answered something before it was killed"
    eventually(lambda: cluster.status()["restarts"]["crash"] == KILLS)
    return books


@pytest.mark.parametrize("path", [AT_ONCE, BUSY])
def test_no_get_is_lost_on_64_keep_alive_connections(cluster: Cluster, path: str) -> None:
    with Load(cluster.address, keep_alive=64, path=path) as load:
        books = kill_many(cluster, load)
    assert_nothing_lost(books)


@pytest.mark.parametrize("path", [AT_ONCE, BUSY])
def test_no_get_is_lost_with_a_connection_per_request(cluster: Cluster, path: str) -> None:
    with Load(cluster.address, one_shot=32, path=path) as load:
        books = kill_many(cluster, load)
    assert_nothing_lost(books)


def assert_only_running_posts_refused(books: Books) -> None:
    assert books.failures == []
    assert refused(books, "GET") == {}
    assert {*refused(books, "POST").values()} <= {502}
    assert len(books.refused) <= KILLS * THREADS, "no more than ran at the kills"
    assert books.reconnects <= len(books.refused), "each 502 closes its connection, no more"


@pytest.mark.parametrize("path", [AT_ONCE, BUSY])
def test_posts_never_run_twice_and_only_running_ones_get_502(
    cluster: Cluster, counts: Path, path: str
) -> None:
    accept = frozenset({200, 502})
    address = cluster.address
    with Load(address, keep_alive=48, one_shot=16, post_every=2, accept=accept, path=path) as load:
        books = kill_many(cluster, load)
    assert_only_running_posts_refused(books)
    assert_no_post_doubled(books, counts)
    assert path == AT_ONCE or books.refused, "kills did hit running POSTs"


def test_on_a_unix_socket_posts_never_run_twice(
    start_cluster: StartCluster, counts: Path, tmp_path: Path
) -> None:
    """There the kernel keeps no books: what ran is refused or cut, and nothing else is."""
    path = str(tmp_path / "s")
    where = ("-b", f"unix:{path}", "--threads", str(THREADS))
    cluster = start_cluster("echo:app", "-w", "2", *where, COUNT_FILE=str(counts))
    accept = frozenset({200, 502})
    cluster.ready()
    with Load(path, keep_alive=32, one_shot=8, post_every=2, accept=accept, path=BUSY) as load:
        books = kill_many(cluster, load)
    assert_no_post_doubled(books, counts)
    assert {*books.refused.values()} <= {502}
    assert 0 < len(books.refused) + len(books.failures) <= KILLS * THREADS


def test_all_workers_killed_at_once_lose_nothing(cluster: Cluster) -> None:
    with Load(cluster.address, keep_alive=32, one_shot=8, path=AT_ONCE) as load:
        for _ in range(5):
            progress(load)
            old = eventually(lambda: seasoned(cluster))
            for worker in old:
                os.kill(worker["pid"], signal.SIGKILL)
            ids = {worker["id"] for worker in old}
            eventually(lambda ids=ids: ids.isdisjoint(w["id"] for w in seasoned(cluster)))  # type: ignore[misc]
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)


def test_a_killed_pool_is_replaced_and_nothing_is_lost(cluster: Cluster) -> None:
    with Load(cluster.address, keep_alive=32, one_shot=8, path=BUSY) as load:
        for _ in range(3):
            progress(load)
            before, pool = pids(cluster), pool_of(cluster)
            os.kill(pool, signal.SIGKILL)
            eventually(lambda before=before: _moved_from(before, cluster), within=20)  # type: ignore[misc]
            assert not alive(pool)
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)


def _moved_from(before: dict[int, int], cluster: Cluster) -> bool:
    now = [worker["pid"] for worker in seasoned(cluster)]
    return bool(now) and not {*before.values()} & {*now}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_other_ends_of_a_worker_lose_nothing_either(
    cluster: Cluster, number: signal.Signals
) -> None:
    chance = random.Random(number)
    with Load(cluster.address, keep_alive=32, one_shot=8, path=BUSY) as load:
        for _ in range(4):
            progress(load)
            kill_one(cluster, chance, number)
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)


@pytest.mark.parametrize("policy", ["sticky", "round-robin"])
def test_a_stopped_worker_s_connections_are_answered_by_others(
    start_cluster: StartCluster, policy: str
) -> None:
    # With round-robin the stopped worker gets no more once it has not taken what it was dealt.
    least = 20 if policy == "sticky" else 1
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "32", "--policy", policy).ready()
    address = cluster.address
    stopped = worker_of(get(address))
    pid = next(worker["pid"] for worker in cluster.workers() if worker["id"] == stopped)
    freeze(pid)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(address)).get("/echo/x") for _ in range(20)]
        eventually(lambda: _connections(cluster, stopped) >= least)
        os.kill(pid, signal.SIGKILL)
        ids = [worker_of(wire.reply()) for wire in wires]
    assert len(ids) == 20
    assert stopped not in ids


def _connections(cluster: Cluster, worker_id: int) -> int:
    (found,) = (w["connections"] for w in cluster.workers() if w["id"] == worker_id)
    return int(found)


@pytest.mark.parametrize("path", ["/die", "/die/11"])
def test_a_get_that_crashes_its_worker_costs_two_and_gets_502(
    cluster: Cluster, counts: Path, path: str
) -> None:
    with Load(cluster.address, keep_alive=16, one_shot=4, path=BUSY) as load:
        progress(load)
        reply = get(cluster.address, path)
        eventually(cluster.ready)
        progress(load)
        books = load.stop()
    assert reply.status == 502
    assert reply.fields["connection"] == "close"
    assert posts_run(counts)["die"] == 2
    eventually(lambda: cluster.status()["restarts"]["crash"] == 2)
    status = cluster.status()
    assert max(worker["id"] for worker in status["workers"]) == 4
    assert_nothing_lost(books)


def test_a_get_that_two_kills_hit_is_not_blamed_while_posts_are_hit_too(
    start_cluster: StartCluster, counts: Path, tmp_path: Path
) -> None:
    """Nothing ever acquits a POST; were it a suspect, every kill would have an explanation."""
    gate = tmp_path / "gate"
    arguments = ("faulty:app", "-w", "2", "--threads", "1")
    cluster = start_cluster(*arguments, COUNT_FILE=str(counts), GATE=str(gate)).ready()
    for _ in range(20):
        begun = time.monotonic()
        for _ in range(2):
            with Wire(cluster.address) as post:
                post.post("/hang/sleep")
                kill_busy(cluster)
                assert post.reply().status == 502
        with Wire(cluster.address) as get:
            get.get("/wait/x")
            kill_busy(cluster)
            kill_busy(cluster)
            slow = time.monotonic() - begun > RECENT
            gate.touch()
            reply = get.reply()
        if reply.status == 200 or not slow:
            break
        gate.unlink()
        cluster.ready()
    assert (reply.status, reply.text) == (200, "waited x")


def kill_busy(cluster: Cluster) -> None:
    """Kill the worker that runs a request, as soon as one does."""
    busy = eventually(lambda: [w["pid"] for w in cluster.workers() if w["active"]])
    os.kill(busy[0], signal.SIGKILL)
    eventually(lambda: all(w["pid"] != busy[0] for w in cluster.status()["workers"]))


def test_gets_that_kill_at_the_same_time_cost_no_more_than_the_policy_allows(
    cluster: Cluster, counts: Path
) -> None:
    """Where one runs for the second time beside one that runs for the first, neither is proven."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(cluster.address)) for _ in range(4)]
        for wire in wires:
            wire.get("/die")
        assert [wire.reply().status for wire in wires] == [502] * 4
    assert posts_run(counts)["die"] <= 16, "four of any age prove it"
    eventually(cluster.ready)


def test_a_post_that_kills_its_worker_costs_one_and_gets_502(
    cluster: Cluster, counts: Path
) -> None:
    with Wire(cluster.address) as wire:
        assert wire.post("/die").reply().status == 502
        assert wire.rest() == b""
    assert posts_run(counts)["die"] == 1
    eventually(cluster.ready)
    eventually(lambda: cluster.status()["restarts"]["crash"] == 1)


def test_without_rerun_a_get_runs_once(start_cluster: StartCluster, counts: Path) -> None:
    cluster = start_cluster("faulty:app", "-w", "2", "--no-rerun", COUNT_FILE=str(counts)).ready()
    assert get(cluster.address, "/die").status == 502
    assert posts_run(counts)["die"] == 1
    eventually(cluster.ready)
    eventually(lambda: control(cluster, "status")["restarts"]["crash"] == 1)


def test_a_cluster_ends_at_once_even_while_a_worker_is_being_born(cluster: Cluster) -> None:
    pool = pool_of(cluster)
    freeze(pool)
    victim = cluster.workers()[0]
    os.kill(victim["pid"], signal.SIGKILL)
    eventually(lambda: any(w["pid"] is None for w in cluster.status()["workers"]))
    cluster.process.terminate()
    eventually(lambda: "stopping" in cluster.log)
    os.kill(pool, signal.SIGCONT)
    assert cluster.stop(within=10) == 0
