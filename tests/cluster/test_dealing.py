"""Which worker gets a connection, and what becomes of one that nobody can take yet."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from launcher.policy.scheduling import LONG
from tests.cluster.tools import Address, Request, ask, get, worker_of
from tests.support import Cluster, StartCluster, eventually


def busy_workers(cluster: Cluster) -> dict[int, int]:
    """How many requests each worker runs, by id; without those that run none."""
    return {w["id"]: w["active"] for w in cluster.workers() if w["active"]}


def occupied(cluster: Cluster, address: Address, stack: ExitStack, seconds: float = 2) -> int:
    """Start a long request; the id of the worker that runs it by now."""
    before = busy_workers(cluster)
    stack.enter_context(Request(address, f"/sleep/{seconds:.1f}"))
    return next(iter(eventually(lambda: {*busy_workers(cluster).items()} - {*before.items()})))[0]


# round-robin


@pytest.mark.parametrize("threads", ["1", "4"])
def test_connections_one_after_another_alternate(start_cluster: StartCluster, threads: str) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", threads).ready()
    address = cluster.address
    ids = [ask(address) for _ in range(200)]
    assert Counter(ids) == {1: 100, 2: 100}
    assert all(first != second for first, second in pairwise(ids))


def test_a_thousand_connections_are_spread_evenly_over_four_workers(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "4").ready()
    address = cluster.address
    dealt = Counter(ask(address) for _ in range(1000))
    assert len(dealt) == 4
    assert max(dealt.values()) - min(dealt.values()) <= 1
    eventually(lambda: cluster.status()["requests"] == 1000)
    assert {worker["requests"] for worker in cluster.workers()} == {250}


def test_connections_that_stay_open_are_spread_evenly_too(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "4").ready()
    address = cluster.address
    with ExitStack() as stack:
        for _ in range(100):
            request = stack.enter_context(Request(address, keep=True))
            assert request.reply().status == 200
        status = cluster.status()
        assert status["connections"] == 100
        assert [worker["connections"] for worker in status["workers"]] == [25, 25, 25, 25]
    eventually(lambda: cluster.status()["connections"] == 0)
    assert [worker["connections"] for worker in cluster.workers()] == [0, 0, 0, 0]


def test_a_connection_that_is_kept_stays_with_its_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    with Request(cluster.address, keep=True) as request:
        ids = {worker_of(request.reply())}
        for _ in range(10):
            request.again("/clustered")
            ids.add(worker_of(request.reply()))
    assert len(ids) == 1


@pytest.mark.parametrize("options", [(), ("--health-path", "/clustered")])
def test_nobody_waits_behind_a_busy_worker(
    start_cluster: StartCluster, options: tuple[str, ...]
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "1", *options).ready()
    address = cluster.address
    eventually(lambda: not busy_workers(cluster))  # the end of a health check
    with ExitStack() as stack:
        busy = occupied(cluster, address, stack)
        ids = [ask(address) for _ in range(20)]
        assert busy in busy_workers(cluster), "the 20 answers came while it was busy"
        assert Counter(ids) == {3 - busy: 20}


def test_nobody_waits_behind_a_busy_worker_when_all_come_at_once(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "1").ready()
    address = cluster.address
    with ExitStack() as stack:
        busy = occupied(cluster, address, stack)
        begun = time.monotonic()
        eventually(lambda: time.monotonic() > begun + 8 * LONG)
        requests = [stack.enter_context(Request(address)) for _ in range(20)]
        ids = [worker_of(request.reply()) for request in requests]
        assert busy in busy_workers(cluster), "the 20 answers came while it was busy"
        assert Counter(ids) == {3 - busy: 20}


def test_a_busy_worker_gets_its_turns_back_when_it_has_finished(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "1").ready()
    address = cluster.address
    assert get(address, "/sleep/0.2").text == "slept"
    eventually(lambda: not busy_workers(cluster))
    assert Counter(ask(address) for _ in range(20)) == {1: 10, 2: 10}


# The other policies


def test_least_busy_prefers_who_runs_nothing(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--policy", "least-busy").ready()
    address = cluster.address
    with ExitStack() as stack:
        busy = occupied(cluster, address, stack)
        ids = [ask(address) for _ in range(20)]
        assert busy_workers(cluster) == {busy: 1}
        assert Counter(ids) == {3 - busy: 20}, "though the busy one has three threads to spare"


def test_least_busy_prefers_who_has_fewer_connections(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--policy", "least-busy").ready()
    address = cluster.address
    with ExitStack() as stack:
        kept = stack.enter_context(Request(address, keep=True))
        first = worker_of(kept.reply())
        for _ in range(10):
            # Until the last connection is seen to be closed, both have one.
            eventually(lambda: cluster.status()["connections"] == 1 and not busy_workers(cluster))
            assert ask(address) == 3 - first


CLIENTS = [f"127.0.0.{last}" for last in range(1, 61)]


def workers_by_client(address: Address) -> dict[str, int]:
    return {client: ask(address, source=client) for client in CLIENTS}


def test_sticky_gives_a_client_address_the_same_worker_every_time(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "4", "--policy", "sticky").ready()
    address = cluster.address
    workers = workers_by_client(address)
    assert {*workers.values()} == {1, 2, 3, 4}
    assert workers_by_client(address) == workers
    assert workers_by_client(address) == workers


def test_sticky_clients_stay_when_another_slot_gets_a_new_worker(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "4", "--policy", "sticky").ready()
    address = cluster.address
    before = workers_by_client(address)
    victim = cluster.workers()[2]
    os.kill(victim["pid"], signal.SIGKILL)
    eventually(lambda: {w["id"] for w in cluster.workers()} == {1, 2, 4, 5})
    replaced = {client: 5 if old == victim["id"] else old for client, old in before.items()}
    assert workers_by_client(address) == replaced


def test_kernel_has_the_workers_accept_for_themselves(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "1", "--policy", "kernel").ready()
    address = cluster.address
    with ExitStack() as stack:
        first = occupied(cluster, address, stack, seconds=1.5)
        second = occupied(cluster, address, stack, seconds=1.5)
        assert {first, second} == {1, 2}, "a worker whose only thread is busy accepts nothing"
        status = cluster.status()
        assert status["policy"] == "kernel"
        assert status["connections"] == 2
        assert [worker["connections"] for worker in status["workers"]] == [1, 1]
    eventually(lambda: cluster.status()["connections"] == 0)


def test_kernel_serves_on_when_a_worker_dies(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--policy", "kernel").ready()
    address = cluster.address
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: {w["id"] for w in cluster.workers()} == {2, 3})
    assert {ask(address) for _ in range(20)} <= {2, 3}


# When nobody can take it


class Gated:
    """A cluster of one worker that comes up only while its gate is open."""

    def __init__(self, start_cluster: StartCluster, folder: Path, *arguments: str) -> None:
        self.gate = folder / "gate"
        self.gate.touch()
        self.cluster = start_cluster(
            "gate:app", "-w", "1", "--no-preload", *arguments, GATE=str(self.gate)
        ).ready()
        self.address = self.cluster.address

    def without_worker(self) -> Gated:
        """Kill the worker; the next one is launching until the gate is opened."""
        self.gate.unlink()
        os.kill(self.cluster.workers()[0]["pid"], signal.SIGKILL)
        eventually(lambda: not self.cluster.workers())
        return self


def test_a_connection_waits_for_a_worker_to_come(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    gated = Gated(start_cluster, tmp_path).without_worker()
    with ExitStack() as stack:
        requests = [stack.enter_context(Request(gated.address)) for _ in range(10)]
        eventually(lambda: gated.cluster.status()["connections"] == 10)
        assert not gated.cluster.workers()
        gated.gate.touch()
        assert {worker_of(request.reply()) for request in requests} == {2}


def test_a_connection_waits_for_a_thread_to_be_free(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--threads", "1").ready()
    address = cluster.address
    with ExitStack() as stack:
        occupied(cluster, address, stack, seconds=0.5)
        waiting = [stack.enter_context(Request(address)) for _ in range(10)]
        assert {worker_of(request.reply()) for request in waiting} == {1}


def test_killing_the_only_worker_again_and_again_refuses_nobody(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    address = cluster.address
    for number in range(1, 4):
        (worker,) = eventually(cluster.workers)
        assert worker["id"] == number
        assert ask(address) == number, "it has answered, so its death is no failed start"
        os.kill(worker["pid"], signal.SIGKILL)
        assert ask(address) == number + 1, "the connection was made while there was no worker"


def test_a_connection_that_has_waited_too_long_gets_503_and_when_to_come_back(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    gated = Gated(start_cluster, tmp_path, "--queue-timeout", "0.5").without_worker()
    began = time.monotonic()
    reply = get(gated.address)
    waited = time.monotonic() - began
    assert reply.status == 503
    assert int(reply.fields["retry-after"]) > 0
    assert reply.fields["connection"] == "close"
    assert 0.5 <= waited < 5
    gated.gate.touch()
    assert eventually(lambda: get(gated.address).status == 200)


def test_a_client_that_gives_up_in_the_queue_is_forgotten(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    gated = Gated(start_cluster, tmp_path).without_worker()
    with ExitStack() as stack:
        hasty = [stack.enter_context(Request(gated.address)) for _ in range(3)]
        patient = stack.enter_context(Request(gated.address))
        eventually(lambda: gated.cluster.status()["connections"] == 4)
        for request in hasty:
            request.reset()
        eventually(lambda: gated.cluster.status()["connections"] == 1)
        gated.gate.touch()
        assert worker_of(patient.reply()) == 2
