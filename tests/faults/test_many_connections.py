"""Ten thousand clients that keep their connection and say nothing."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.tools import (
    assert_nothing_lost,
    control,
    descriptors,
    proportional_bytes,
    settled_descriptors,
)
from tests.faults.wire import request
from tests.load import Load
from tests.support import Cluster, StartCluster, children, eventually, sized

WANTED = sized(4_000, 10_000)
RESERVED = 700
"""Descriptors that the test and the primary need for other things."""

BATCH = 500
QUESTION = request("GET", "/echo/idle")


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    """As many unconnected sockets as the limits allow, ten thousand at the most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        number = min(WANTED, hard - RESERVED)
        yield [stack.enter_context(socket.socket()) for _ in range(number)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(clients: list[socket.socket], address: tuple[str, int]) -> None:
    """Connect everybody, spread over loopback addresses as from many machines."""
    for index, client in enumerate(clients):
        client.settimeout(60)
        client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        client.bind((f"127.0.0.{2 + index % 8}", 0))
        client.connect(address)


def ask_all(clients: list[socket.socket]) -> set[int]:
    """Everybody asks and is answered; the workers that did."""
    workers = set()
    for start in range(0, len(clients), BATCH):
        batch = clients[start : start + BATCH]
        for client in batch:
            client.sendall(QUESTION)
        workers |= {int(answer(client).split()[-1]) for client in batch}
    return workers


def answer(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n") or b"\r\n\r\n" not in received:
        data = client.recv(4096)
        assert data, "the connection was closed"
        received += data
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    return received


def memory(cluster: Cluster) -> int:
    """Of the primary, the pool and the workers."""
    pools = children(cluster.pid)
    pids = [cluster.pid, *pools, *(worker["pid"] for worker in cluster.workers())]
    return sum(map(proportional_bytes, pids))


def assert_others_unaffected(cluster: Cluster) -> None:
    with Load(cluster.address, keep_alive=4, one_shot=2) as load:
        eventually(lambda: min(load.answers()) >= 20, within=60)
        books = load.stop()
    assert_nothing_lost(books)
    assert max(books.latencies) < 2


def test_thousands_of_idle_connections(
    start_cluster: StartCluster,
    clients: list[socket.socket],
    record_property: Callable[[str, object], None],
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--keepalive", "600").ready()
    assert_others_unaffected(cluster)
    eventually(lambda: cluster.status()["connections"] == 0)
    before, open_before = memory(cluster), len(settled_descriptors(cluster.pid))

    connect(clients, cluster.address)
    ask_all(clients)
    assert cluster.status()["connections"] == len(clients)
    each = (memory(cluster) - before) / len(clients)
    print(f"{len(clients)} idle connections, {each:.0f} bytes each")
    record_property("idle_connections", len(clients))
    record_property("bytes_per_idle_connection", round(each))
    assert each < 16_384
    assert_others_unaffected(cluster)

    old = {worker["id"] for worker in cluster.workers()}
    control(cluster, "reload", within=120)
    eventually(lambda: old.isdisjoint(w["id"] for w in cluster.status()["workers"]), within=60)
    assert ask_all(clients).isdisjoint(old), "all connections have moved, alive"
    assert_others_unaffected(cluster)

    for client in clients:
        client.close()
    eventually(lambda: cluster.status()["connections"] == 0, within=30)
    eventually(lambda: len(descriptors(cluster.pid)) == open_before)
