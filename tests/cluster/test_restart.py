"""Processes are killed, or die of themselves: what comes back, how fast, and what is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.tools import (
    WITH_TERMINAL,
    Request,
    ask,
    can_be_bound,
    forks_in,
    free_port,
    get,
)
from tests.faults.tools import freeze
from tests.load import Load
from tests.support import Cluster, StartCluster, alive, children, eventually, pool_of


def by_slot(cluster: Cluster) -> dict[int, dict[str, Any]]:
    return {worker["slot"]: worker for worker in cluster.workers()}


def ids_are(cluster: Cluster, ids: set[int]) -> bool:
    return {worker["id"] for worker in cluster.workers()} == ids


# A worker


def test_a_killed_worker_is_replaced_in_its_slot_by_the_next_id(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    before = by_slot(cluster)
    assert cluster.status()["restarts"]["crash"] == 0
    os.kill(before[0]["pid"], signal.SIGKILL)
    eventually(lambda: {worker["id"] for worker in cluster.workers()} == {2, 3})
    after = by_slot(cluster)
    assert after[0]["id"] == 3
    assert after[0]["pid"] != before[0]["pid"]
    assert (after[1]["id"], after[1]["pid"]) == (2, before[1]["pid"])
    eventually(lambda: cluster.status()["restarts"]["crash"])
    assert cluster.status()["restarts"] == {
        **dict.fromkeys(("timeout", "memory", "recycle", "reload", "restart"), 0),
        "crash": 1,
    }
    assert {ask(cluster.address) for _ in range(10)} == {2, 3}


def test_the_log_says_who_died_and_how(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pid = by_slot(cluster)[1]["pid"]
    os.kill(pid, signal.SIGKILL)
    line = f"[primary] worker 2 (slot 1, pid {pid}) was killed by SIGKILL"
    eventually(lambda: line in cluster.log)


def test_killed_workers_cost_no_connection(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    with Load(cluster.address, one_shot=4) as load:
        for expected in ({2, 3}, {3, 4}, {4, 5}):
            os.kill(min(by_slot(cluster).values(), key=lambda w: w["id"])["pid"], signal.SIGKILL)
            eventually(partial(ids_are, cluster, expected))
    assert load.books.failures == []
    assert load.books.answered > 50


def test_a_worker_that_is_asked_to_leave_finishes_first_and_is_replaced(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    (worker,) = cluster.workers()
    with Request(cluster.address, "/sleep/1.0") as running:
        eventually(lambda: cluster.workers()[0]["active"] == 1)
        os.kill(worker["pid"], signal.SIGTERM)
        eventually(lambda: [w["id"] for w in cluster.workers()] == [2])
        assert ask(cluster.address) == 2
        assert running.reply().text == "slept"
    eventually(lambda: not alive(worker["pid"]))
    assert cluster.status()["restarts"]["crash"] == 0
    assert "worker 1 (slot 0" in cluster.log
    assert "leaves: it was asked to by SIGTERM" in cluster.log


def test_an_app_that_calls_exit_in_a_request_costs_no_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    assert get(cluster.address, "/exit").status == 500
    assert get(cluster.address, "/raise").status == 500
    assert ask(cluster.address) == 1
    assert cluster.status()["restarts"]["crash"] == 0


# The pool


def test_a_killed_pool_is_replaced_with_the_port_open_all_the_time(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pool, pids = pool_of(cluster), {worker["pid"] for worker in cluster.workers()}
    with Load(cluster.address, one_shot=4) as load:
        os.kill(pool, signal.SIGKILL)
        eventually(lambda: {w["generation"] for w in cluster.workers()} == {2})
        eventually(lambda: load.books.workers[3] > 5 and load.books.workers[4] > 5)
    assert load.books.failures == []
    assert {*load.books.statuses} == {200}
    assert pids.isdisjoint({worker["pid"] for worker in cluster.workers()})
    assert eventually(lambda: pool_of(cluster)) != pool


def test_a_pool_and_its_workers_killed_at_once_are_replaced(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    address = cluster.address
    victims = [pool_of(cluster), *(worker["pid"] for worker in cluster.workers())]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert ask(address) > 2, "the connection waited for the new pool"
    eventually(lambda: [worker["generation"] for worker in cluster.workers()] == [2, 2])


def test_the_pool_that_lost_its_workers_forks_the_next_without_loading_the_app_again(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pool = pool_of(cluster)
    for worker in cluster.workers():
        os.kill(worker["pid"], signal.SIGKILL)
    eventually(lambda: {worker["id"] for worker in cluster.workers()} == {3, 4})
    assert pool_of(cluster) == pool
    assert {worker["generation"] for worker in cluster.workers()} == {1}


# The primary

FREEZE_A_WORKER = "freeze a worker"
RUN_A_REQUEST = "run a request"


@pytest.mark.parametrize(
    ("meanwhile", "policy"),
    [
        (None, "round-robin"),
        (RUN_A_REQUEST, "kernel"),
        (FREEZE_A_WORKER, "round-robin"),
        pytest.param(None, "kernel", marks=pytest.mark.long),
        pytest.param(RUN_A_REQUEST, "round-robin", marks=pytest.mark.long),
        pytest.param(FREEZE_A_WORKER, "kernel", marks=pytest.mark.long),
    ],
)
def test_nothing_is_left_of_a_killed_primary_and_the_same_command_works_at_once(
    start_cluster: StartCluster, meanwhile: str | None, policy: str
) -> None:
    port = free_port()
    command = "echo:app", "-w", "2", "--port", str(port), "--policy", policy
    cluster = start_cluster(*command).ready()
    pids = cluster.pids()
    assert len(pids) == 4
    with contextlib.ExitStack() as stack:
        if meanwhile == RUN_A_REQUEST:
            stack.enter_context(Request(("127.0.0.1", port), "/sleep/60.0"))
            eventually(lambda: any(worker["active"] for worker in cluster.workers()))
        if meanwhile == FREEZE_A_WORKER:
            os.kill(cluster.workers()[0]["pid"], signal.SIGSTOP)
        cluster.process.kill()
        cluster.process.wait()
        killed = time.monotonic()
        # With the policy kernel the workers have the listening socket until they are gone.
        again = start_cluster(*command) if policy == "round-robin" else None
        eventually(lambda: not any(map(alive, pids)), within=30)
        assert time.monotonic() - killed < 5
    again = again or start_cluster(*command)
    assert ask(again.ready().address) in (1, 2)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_nothing_is_left_of_a_primary_that_is_killed_while_the_app_is_loaded(
    start_cluster: StartCluster, tmp_path: Path, preload: str
) -> None:
    cluster = start_cluster("gate:app", "-w", "1", preload, GATE=str(tmp_path / "never"))
    processes = 2 if preload == "--preload" else 3
    eventually(lambda: len(cluster.pids()) == processes, within=30)
    pids = cluster.pids()
    cluster.process.kill()
    cluster.process.wait()
    eventually(lambda: not any(map(alive, pids)), within=5)


def test_what_runs_when_the_primary_is_killed_is_finished(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    with Request(cluster.address, "/sleep/1.0") as running:
        eventually(lambda: cluster.workers()[0]["active"] == 1)
        cluster.process.kill()
        assert running.reply().text == "slept"


def test_a_port_can_be_bound_as_soon_as_the_primary_is_dead(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    address = cluster.address
    cluster.process.kill()
    cluster.process.wait()
    assert can_be_bound(address)


# Workers that cannot live


@pytest.fixture
def errored(start_cluster: StartCluster, tmp_path: Path) -> Cluster:
    """A cluster that has given up after five deaths."""
    cluster = start_cluster(
        "dies_at_fork:app",
        *("-w", "2", "--max-restarts", "5"),
        COUNT_FILE=str(tmp_path / "forks"),
    )
    eventually(lambda: cluster.status()["status"] == "errored", within=30)
    return cluster


def test_after_the_limit_the_cluster_is_errored_and_says_why(
    errored: Cluster, tmp_path: Path
) -> None:
    shown = errored.command("list")
    assert shown.returncode == 0
    assert " errored " in shown.stdout
    assert "exited with status 5" in shown.stdout
    assert "giving up after 5 failed starts in a row" in errored.log
    assert errored.status()["workers"][0]["status"] == "backoff"
    assert 5 <= len(forks_in(tmp_path / "forks")) <= 6
    assert children(errored.pid) == [pool_of(errored)], "no worker lives"


def test_an_errored_cluster_answers_503_at_once(errored: Cluster) -> None:
    began = time.monotonic()
    replies = [get(errored.address) for _ in range(3)]
    assert time.monotonic() - began < 2
    assert {reply.status for reply in replies} == {503}
    assert all("retry-after" in reply.fields for reply in replies)


def test_an_errored_cluster_can_be_stopped(errored: Cluster) -> None:
    pids = errored.pids()
    done = errored.command("stop", "dies_at_fork")
    assert (done.returncode, done.stdout) == (0, "stopped dies_at_fork\n")
    assert errored.process.wait(10) == 0
    assert not any(map(alive, pids))


def test_a_crash_loop_can_be_stopped_in_the_middle_of_its_backoff(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster("dies_at_fork:app", "-w", "2", COUNT_FILE=str(tmp_path / "forks"))
    eventually(lambda: len(forks_in(tmp_path / "forks")) > 6, within=30)
    eventually(lambda: {w["status"] for w in cluster.status()["workers"]} == {"backoff"})
    assert cluster.stop() == 0


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_cluster_when_what_runs_is_finished(
    start_cluster: StartCluster, number: signal.Signals
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", prefix=WITH_TERMINAL).ready()
    address, pids = cluster.address, cluster.pids()
    with Request(address, "/sleep/1.0") as running:
        eventually(lambda: any(worker["active"] for worker in cluster.workers()))
        cluster.process.send_signal(number)
        assert refused(address)
        assert running.reply().text == "slept"
    assert cluster.process.wait(10) == 0
    assert not any(map(alive, pids))
    assert can_be_bound(address)
    assert [*cluster.home.iterdir()] == [], "nobody asked to remember it"


def refused(address: tuple[str, int]) -> bool:
    """Wait until connections are refused."""

    def check() -> bool:
        try:
            Request(address).close()
        except ConnectionRefusedError:
            return True
        return False

    return eventually(check)


def test_stop_ends_it_and_keeps_the_entry(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--name", "web").ready()
    pids = cluster.pids()
    done = cluster.command("stop", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped web\n", "")
    assert cluster.process.wait(10) == 0
    assert not any(map(alive, pids))
    assert " stopped " in cluster.command("list").stdout
    again = cluster.command("stop", "web")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "nothing to do: cluster 'web' is not running\n"


def test_an_idle_cluster_ends_at_once_though_clients_keep_connections(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    with Request(cluster.address, keep=True) as kept:
        kept.reply()
        began = time.monotonic()
        assert cluster.stop() == 0
        assert time.monotonic() - began < 3
        kept.until_closed()


def test_a_second_interrupt_ends_it_at_once_and_says_so(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pids = cluster.pids()
    with Request(cluster.address, "/sleep/60.0") as running:
        eventually(lambda: any(worker["active"] for worker in cluster.workers()))
        cluster.process.send_signal(signal.SIGINT)
        eventually(lambda: "stopping; running requests have 30 s to finish" in cluster.log)
        cluster.process.send_signal(signal.SIGINT)
        assert cluster.process.wait(5) == 1
        assert running.reply().status in (502, 503), "cut off, but told so"
    assert cluster.log.endswith(
        "launcher: interrupted again: stopped at once, 1 running requests were cut\n"
    )
    assert not any(map(alive, pids))


def test_what_does_not_finish_in_time_is_ended_by_force(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--graceful-timeout", "0.5").ready()
    pids = cluster.pids()
    with Request(cluster.address, "/sleep/60.0"):
        eventually(lambda: any(worker["active"] for worker in cluster.workers()))
        assert cluster.stop(within=5) == 0
    assert "ending by force, not finished in time: worker " in cluster.log
    assert not any(map(alive, pids))


def test_a_frozen_worker_does_not_hold_up_the_end(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--graceful-timeout", "0.5").ready()
    pids = cluster.pids()
    os.kill(cluster.workers()[0]["pid"], signal.SIGSTOP)
    assert cluster.stop(within=5) == 0
    assert not any(map(alive, pids))


def test_a_cluster_whose_pool_is_killed_while_it_stops_ends_with_its_last_worker(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    pool = pool_of(cluster)
    with Request(cluster.address, "/sleep/1.0") as running:
        eventually(lambda: cluster.workers()[0]["active"] == 1)
        cluster.process.terminate()
        eventually(lambda: cluster.status()["status"] == "stopping")
        os.kill(pool, signal.SIGKILL)
        eventually(lambda: not alive(pool))
        assert running.reply().text == "slept"
    assert cluster.process.wait(10) == 0


def test_a_stop_while_the_app_is_still_being_loaded(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster("gate:app", "-w", "2", GATE=str(tmp_path / "never"))
    eventually(lambda: cluster.status()["status"] == "launching")
    pids = cluster.pids()
    assert len(pids) == 2
    assert cluster.stop(within=5) == 0
    assert not any(map(alive, pids))


def test_a_request_on_a_kept_connection_that_has_come_is_answered_before_the_end(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    worker = cluster.workers()[0]["pid"]
    with Request(cluster.address, keep=True) as kept:
        kept.reply()
        freeze(worker)
        cluster.process.terminate()
        eventually(lambda: cluster.status()["status"] == "stopping")
        kept.again("/clustered")
        os.kill(worker, signal.SIGCONT)
        assert kept.reply().status == 200
        kept.until_closed()
    assert cluster.process.wait(10) == 0


def test_requests_that_were_sent_before_the_end_are_answered(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    address = cluster.address
    with Load(address, one_shot=4, accept=frozenset({200})) as load:
        eventually(lambda: load.books.answered > 50)
        assert cluster.stop() == 0
    unanswered = [line for line in load.books.failures if "ConnectionRefused" not in line]
    assert unanswered == []
