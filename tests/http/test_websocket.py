"""WebSockets with Flask-Sock, which talks on ``environ["gunicorn.socket"]`` itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from simple_websocket import Client, ConnectionClosed  # type: ignore[import-untyped]

from tests.http.wire import Wire
from tests.support import Cluster, StartCluster, eventually

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster) -> Cluster:
    """A request may take a second here; a WebSocket as long as it likes."""
    return start_shared("views:app", "-w", "1", "--threads", "12", "--timeout", "1").ready()


@contextmanager
def connected(cluster: Cluster) -> Iterator[Client]:
    host, port = cluster.address
    client = Client(f"ws://{host}:{port}/echo")
    try:
        yield client
    finally:
        if client.connected:
            client.close()


def echoes(client: Client, message: str | bytes) -> bool:
    client.send(message)
    return bool(client.receive(timeout=20) == message)


def alive(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask("/plain", "Connection: close").text == "plain"


def test_an_echo(cluster: Cluster) -> None:
    with connected(cluster) as client:
        for message in ("hello", b"bytes", "x" * 100_000, ""):
            assert echoes(client, message)


def test_it_may_take_longer_than_a_request(cluster: Cluster) -> None:
    workers = cluster.workers()
    with connected(cluster) as client:
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            assert echoes(client, "still here")
            assert client.receive(timeout=0.1) is None
    assert [worker["id"] for worker in cluster.workers()] == [worker["id"] for worker in workers]


def test_many_at_once_and_one_after_another(cluster: Cluster) -> None:
    """Each of them closes its socket in a thread of its own; none closes another's."""

    def visit(number: int) -> bool:
        with connected(cluster) as client:
            return all(echoes(client, f"{number} {index}") for index in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(visit, range(80)))
    alive(cluster)
    eventually(lambda: cluster.status()["connections"] == 0)


def test_the_app_may_leave_first(cluster: Cluster) -> None:
    for _ in range(5):
        with connected(cluster) as client:
            client.send("leave")
            with pytest.raises(ConnectionClosed) as closed:
                client.receive(timeout=20)
            assert closed.value.reason == 1000
    eventually(lambda: cluster.status()["connections"] == 0)


def test_a_client_that_vanishes(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask("/echo", *UPGRADE).status == 101
        wire.reset()
    eventually(lambda: cluster.status()["connections"] == 0)
    eventually(lambda: cluster.workers()[0]["active"] == 0)


def test_an_upgrade_that_the_app_does_not_take_is_a_request_like_others(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask("/plain", *UPGRADE).status == 400  # so says Werkzeug
        for fields in ((), ("Upgrade: h2c", "Connection: Upgrade"), ()):
            assert wire.ask("/plain", *fields).text == "plain"


def test_an_upgrade_that_the_app_does_not_take_has_its_time(start_cluster: StartCluster) -> None:
    cluster = start_cluster("shapes:application", "-w", "1", "--timeout", "1").ready()
    with Wire(cluster.address) as wire:
        assert wire.ask("/pause?seconds=60", *UPGRADE).status == 504
        assert wire.is_closed()


def test_an_app_may_close_the_socket_itself(start_cluster: StartCluster) -> None:
    """What it closes is its own: the connection still ends in order, and no other with it."""
    cluster = start_cluster("shapes:application", "-w", "1", "--threads", "1").ready()
    for _ in range(20):
        with Wire(cluster.address) as wire, Wire(cluster.address) as other:
            assert wire.ask("/take-over", *UPGRADE).status == 101
            assert other.ask("/x").text == "/x"
            assert wire.rest() == b"bye"
            assert other.ask("/x").text == "/x"
    eventually(lambda: cluster.status()["connections"] == 0)


def test_it_goes_on_while_the_cluster_stops(start_cluster: StartCluster) -> None:
    cluster = start_cluster("views:app", "-w", "1").ready()
    with connected(cluster) as client:
        assert echoes(client, "before")
        cluster.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in cluster.log)
        for index in range(10):
            assert echoes(client, f"after {index}")
        client.send("leave")
        with pytest.raises(ConnectionClosed):
            client.receive(timeout=20)
    assert cluster.process.wait(20) == 0


def test_it_does_not_keep_the_cluster_for_ever(start_cluster: StartCluster) -> None:
    cluster = start_cluster("views:app", "-w", "1", "--graceful-timeout", "1").ready()
    with connected(cluster) as client:
        assert echoes(client, "before")
        cluster.process.send_signal(signal.SIGTERM)
        cluster.process.wait(20)
        with pytest.raises(ConnectionClosed):
            client.receive(timeout=20)
