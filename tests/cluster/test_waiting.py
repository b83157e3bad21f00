"""The app waits: no request waits for a thread while a worker could run it."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.cluster.tools import Address, Request, get
from tests.support import Cluster, StartCluster, eventually


@pytest.fixture
def start(start_cluster: StartCluster) -> Callable[..., Cluster]:
    """Starts the app."""
    return lambda *options: start_cluster("waits:app", *options).ready()


def figures(cluster: Cluster, key: str) -> list[int]:
    return [worker[key] for worker in cluster.workers()]


def kept(stack: ExitStack, address: Address, number: int) -> dict[str, list[Request]]:
    """Connections that have been answered once and stay open, by the worker that has them."""
    found: dict[str, list[Request]] = {}
    for _ in range(number):
        request = stack.enter_context(Request(address, "/who", keep=True))
        found.setdefault(request.reply().text, []).append(request)
    return found


def status_of(request: Request) -> int:
    """Of a response that may have no end."""
    return int(request._line().split(" ")[1])


def all_asleep(stack: ExitStack, cluster: Cluster, threads: int, seconds: float) -> list[Request]:
    """Requests that hold all threads of all workers."""
    asked = [
        stack.enter_context(Request(cluster.address, f"/sleep/{seconds}")) for _ in range(threads)
    ]
    eventually(lambda: sum(figures(cluster, "active")) == threads)
    return asked


def test_a_number_of_threads_stays_as_it_is(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "1", "--threads", "3")
    with ExitStack() as stack:
        asked = all_asleep(stack, cluster, 3, 1.0)
        more = [stack.enter_context(Request(cluster.address, "/sleep/0.1")) for _ in range(3)]
        eventually(lambda: cluster.status()["waiting"] == 3)
        assert (figures(cluster, "threads"), figures(cluster, "threads_max")) == ([3], [3])
        assert {request.reply().status for request in asked + more} == {200}
    assert eventually(lambda: cluster.status()["waiting"] == 0)


@pytest.mark.parametrize("policy", ["round-robin", "least-busy"])
def test_the_fifth_request_of_a_full_worker_is_answered_by_the_other(
    start: Callable[..., Cluster], policy: str
) -> None:
    cluster = start("-w", "2", "--threads", "4", "--policy", policy)
    with ExitStack() as stack:
        owner, requests = next(
            (worker, found)
            for worker, found in kept(stack, cluster.address, 12).items()
            if len(found) >= 5
        )
        for request in requests[:4]:
            request.again("/sleep/3.0")
        eventually(lambda: 4 in figures(cluster, "active"))
        requests[4].again("/who")
        other = requests[4].reply()
        assert other.status == 200
        assert other.text != owner
        requests[4].again("/who")
        assert requests[4].reply().text == other.text, "it stays where it went"
        assert {request.reply().text for request in requests[:4]} == {f"slept in {owner}"}


def test_what_a_client_is_slow_with_has_no_clock_once_a_thread_has_looked(
    start: Callable[..., Cluster],
) -> None:
    cluster = start("-w", "1", "--threads", "1", "--queue-timeout", "2")
    with ExitStack() as stack:
        (asleep,) = all_asleep(stack, cluster, 1, 1.0)
        # A connection on which nothing is asked does not wait for a thread.
        _, half = (
            stack.enter_context(socket.create_connection(cluster.address, timeout=10))
            for _ in range(2)
        )
        half.sendall(b"POST /sleep/0.01 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        eventually(lambda: cluster.status()["waiting"] == 1)
        assert asleep.reply().status == 200
        eventually(lambda: cluster.status()["waiting"] == 0)
        half.sendall(b"b")
        assert half.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_websockets_leave_the_reserve_alone_and_what_they_leave_is_theirs_in_a_stop(
    start: Callable[..., Cluster],
) -> None:
    cluster = start("-w", "1", "--threads", "8")
    with ExitStack() as stack:
        asked = [
            stack.enter_context(
                Request(cluster.address, "/sleep/2.0", fields="Upgrade: websocket\r\n")
            )
            for _ in range(9)
        ]
        eventually(lambda: cluster.status()["waiting"] == 3)
        assert figures(cluster, "active") == [6]
        cluster.process.terminate()
        # Those that waited run as soon as the others have ended.
        assert [request.reply().status for request in asked] == [200] * 9


def test_with_sticky_it_waits_for_its_own_worker(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "2", "--threads", "2", "--policy", "sticky")
    with ExitStack() as stack:
        ((owner, requests),) = kept(stack, cluster.address, 3).items()
        for request in requests[:2]:
            request.again("/sleep/1.0")
        eventually(lambda: 2 in figures(cluster, "active"))
        requests[2].again("/who")
        eventually(lambda: cluster.status()["waiting"] == 1)
        assert requests[2].reply().text == owner


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("--policy", "sticky"), marks=pytest.mark.long),
        ("--policy", "kernel"),
    ],
)
def test_a_request_that_waited_for_too_long_gets_503(
    start: Callable[..., Cluster], options: tuple[str, ...]
) -> None:
    cluster = start("-w", "1", "--threads", "2", "--queue-timeout", "1", *options)
    with ExitStack() as stack:
        (requests,) = kept(stack, cluster.address, 2).values()
        idle, asks = requests
        all_asleep(stack, cluster, 2, 4.0)
        begun = time.monotonic()
        asks.again("/who")
        if "kernel" not in options:  # there what is new is left to the kernel
            new = stack.enter_context(Request(cluster.address, "/who"))
            assert new.reply().status == 503
        reply = asks.reply()
        assert reply.status == 503
        assert int(reply.fields["retry-after"]) > 0
        assert reply.fields["connection"] == "close"
        assert 1 <= time.monotonic() - begun < 3
        idle.again("/who")
        assert idle.reply().status == 503, "and one that was idle all the time has its own clock"
        assert 2 <= time.monotonic() - begun < 4


def test_what_is_given_back_is_refused_when_too_many_wait(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "1", "--threads", "1", "--queue-size", "2", "--queue-timeout", "20")
    with ExitStack() as stack:
        asleep = all_asleep(stack, cluster, 1, 1.0)
        waiting = [stack.enter_context(Request(cluster.address, "/who")) for _ in range(2)]
        eventually(lambda: cluster.status()["waiting"] == 2)
        late = [stack.enter_context(Request(cluster.address, "/who")) for _ in range(5)]
        # They are in the listen backlog, and served when there is room.
        assert cluster.status()["waiting"] <= 3
        assert {request.reply().status for request in asleep + waiting + late} == {200}


def test_streams_leave_two_threads_to_other_requests(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "1", "--threads", "2:8", "--queue-timeout", "2")
    assert get(cluster.address, "/who").status == 200, "a path that was never seen is no risk"
    with ExitStack() as stack:
        streams = [
            stack.enter_context(Request(cluster.address, "/events", keep=True)) for _ in range(8)
        ]
        eventually(lambda: cluster.workers()[0]["streaming"] == 6)
        eventually(lambda: cluster.status()["waiting"] == 2)
        assert {get(cluster.address, "/who").status for _ in range(20)} == {200}
        assert sorted(map(status_of, streams)) == [200] * 6 + [503] * 2
        assert "6 of 8 threads are busy" in cluster.log
        assert "6 x GET /events" in cluster.log


def test_others_are_served_beside_one_that_computes_without_end(
    start: Callable[..., Cluster],
) -> None:
    cluster = start("-w", "1")
    with ExitStack() as stack:
        stack.enter_context(Request(cluster.address, "/compute/30.0"))
        eventually(lambda: figures(cluster, "active") == [1])
        request = stack.enter_context(Request(cluster.address, "/who", keep=True))
        assert request.reply().status == 200
        took = []
        for _ in range(40):
            begun = time.monotonic()
            request.again("/who")
            assert request.reply().status == 200
            took.append(time.monotonic() - begun)
        assert get(cluster.address, "/enough").status == 200
    assert statistics.median(took) < 0.1


def test_a_retiring_worker_finishes_what_waits_in_it(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "1", "--threads", "2")
    with ExitStack() as stack:
        asked = all_asleep(stack, cluster, 2, 1.0)
        asked += [stack.enter_context(Request(cluster.address, "/sleep/0.1")) for _ in range(6)]
        eventually(lambda: cluster.status()["waiting"] == 6)
        assert cluster.command("reload", "waits").returncode == 0
        assert {request.reply().status for request in asked} == {200}


def test_a_stop_finishes_what_waits(start_cluster: StartCluster) -> None:
    cluster = start_cluster("waits:app", "-w", "1", "--threads", "2").ready()
    with ExitStack() as stack:
        asked = all_asleep(stack, cluster, 2, 1.0)
        asked += [stack.enter_context(Request(cluster.address, "/sleep/0.1")) for _ in range(6)]
        eventually(lambda: cluster.status()["waiting"] == 6)
        cluster.process.terminate()
        assert {request.reply().status for request in asked} == {200}


def test_the_status_tells_of_threads(start: Callable[..., Cluster]) -> None:
    cluster = start("-w", "1", "--threads", "2:5")
    (worker,) = cluster.workers()
    for key in ("threads", "threads_max", "active", "streaming"):
        assert type(worker[key]) is int
    assert (worker["threads"], worker["threads_max"]) == (2, 5)
    assert cluster.status()["waiting"] == cluster.status()["streaming"] == 0
