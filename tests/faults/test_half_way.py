"""A worker that dies between any two steps of a request: what the client gets, exactly.

No load here: the steps are held with gates and frozen processes, so each case is the same
every time.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.ipc.channel import Channel, ChannelClosed
from tests.faults.tools import control, freeze, pids, posts_run
from tests.faults.wire import Wire, request, worker_of
from tests.support import Cluster, StartCluster, eventually


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Where the app writes down what it ran."""
    path = tmp_path / "count"
    path.touch()
    return path


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What the requests to /wait wait for."""
    return tmp_path / "gate"


@pytest.fixture
def cluster(start_cluster: StartCluster, counts: Path, gate: Path) -> Cluster:
    environment = {"COUNT_FILE": str(counts), "GATE": str(gate)}
    options = ("--graceful-timeout", "12")
    return start_cluster("faulty:app", "-w", "2", *options, **environment).ready()


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Wire]:
    """A connection that has had one answer already."""
    with Wire(cluster.address) as connected:
        assert connected.ask().status == 200
        yield connected


def holder(cluster: Cluster) -> dict[str, Any]:
    """The worker that has the only connection there is."""
    (found,) = eventually(lambda: [w for w in cluster.workers() if w["connections"]])
    return dict(found)


def kill(cluster: Cluster, worker: dict[str, Any]) -> None:
    """Kill a worker and wait until that is known."""
    os.kill(worker["pid"], signal.SIGKILL)
    eventually(lambda: worker["id"] not in [w["id"] for w in cluster.status()["workers"]])


def test_an_idle_connection_goes_on(cluster: Cluster, wire: Wire) -> None:
    for _ in range(5):
        victim = holder(cluster)
        kill(cluster, victim)
        assert worker_of(wire.ask()) != victim["id"]


@pytest.mark.parametrize("sent", [1, 20, -2])
def test_half_a_head_is_completed_elsewhere(cluster: Cluster, wire: Wire, sent: int) -> None:
    head = request("GET", "/echo/x")
    wire.send(head[:sent])
    kill(cluster, holder(cluster))
    assert wire.send(head[sent:]).reply().text.startswith("x GET")


def test_what_its_last_worker_waited_for_is_not_what_the_next_one_waits_for(
    start_cluster: StartCluster,
) -> None:
    """SO_RCVLOWAT is the connection's: a short request after a long one would never wake it."""
    cluster = start_cluster("echo:app", "-w", "1").ready()
    long, short = request("GET", f"/echo/{'x' * 200}"), request("GET", "/echo/y")
    with Wire(cluster.address, timeout=5) as wire, Wire(cluster.address) as other:
        wire.send(long[:180])
        assert worker_of(other.ask()) == 1, "events come in turn: the half has been looked at"
        control(cluster, "reload")
        assert worker_of(wire.send(long[180:]).reply()) == 2
        assert worker_of(wire.send(short).reply()) == 2


def test_half_a_small_body_is_completed_elsewhere_and_runs_once(
    cluster: Cluster, wire: Wire, counts: Path
) -> None:
    wire.send(request("POST", "/echo/half", "Content-Length: 1000") + b"x" * 500)
    kill(cluster, holder(cluster))
    assert wire.send(b"x" * 500).reply().text.startswith("half POST")
    assert counts.read_text() == "half 1000\n"


@pytest.mark.parametrize("field", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_half_a_body_that_the_worker_has_taken_in_gets_502(
    cluster: Cluster, wire: Wire, counts: Path, field: str
) -> None:
    wire.send(request("POST", "/echo/half", field, "Expect: 100-continue"))
    assert wire.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"7A120\r\n" + b"x" * 300_000)
    kill(cluster, holder(cluster))
    reply = wire.reply()
    assert (reply.status, reply.fields["connection"]) == (502, "close")
    with suppress(ConnectionResetError):
        assert wire.rest() == b""
    assert counts.read_text() == ""


def running(cluster: Cluster, counts: Path, name: str) -> dict[str, Any]:
    """The worker that runs the request ``/wait/name`` by now."""
    eventually(lambda: f"running {name}\n" in counts.read_text())
    (found,) = (w for w in cluster.workers() if w["active"])
    return dict(found)


def test_a_running_get_runs_again_elsewhere(
    cluster: Cluster, wire: Wire, counts: Path, gate: Path
) -> None:
    wire.get("/wait/x")
    kill(cluster, running(cluster, counts, "x"))
    eventually(lambda: counts.read_text() == "running x\n" * 2)
    gate.touch()
    assert wire.reply().text == "waited x"
    assert wire.ask().status == 200, "the connection lives on"


def test_what_is_pipelined_behind_it_is_answered_in_order(
    cluster: Cluster, wire: Wire, counts: Path, gate: Path
) -> None:
    wire.send(request("GET", "/wait/x") + request("GET", "/echo/y") + request("GET", "/wait/z"))
    kill(cluster, running(cluster, counts, "x"))
    gate.touch()
    answers = [wire.reply().text.split() for _ in range(3)]
    assert [words[:2] for words in answers] == [["waited", "x"], ["y", "GET"], ["waited", "z"]]


def test_each_request_of_a_connection_may_be_run_again(
    cluster: Cluster, wire: Wire, counts: Path, gate: Path
) -> None:
    for name in ("a", "b", "c"):
        wire.get(f"/wait/{name}")
        kill(cluster, running(cluster, counts, name))
        eventually(lambda name=name: counts.read_text().count(f"running {name}\n") == 2)  # type: ignore[misc]
        gate.touch()
        assert wire.reply().text == f"waited {name}"
        gate.unlink()


def test_a_get_with_a_body_does_not_run_again(cluster: Cluster, wire: Wire, counts: Path) -> None:
    wire.send(request("GET", "/wait/x", "Content-Length: 1") + b"x")
    kill(cluster, running(cluster, counts, "x"))
    assert wire.reply().status == 502
    assert counts.read_text() == "running x\n"


def test_a_finished_response_that_nobody_has_read_is_whole(cluster: Cluster, counts: Path) -> None:
    with Wire(cluster.address) as wire:
        wire.get("/big/100000")
        eventually(lambda: cluster.status()["requests"] == 1)
        victim = holder(cluster)
        kill(cluster, victim)
        assert wire.reply().text == "x" * 100_000
        assert worker_of(wire.ask()) != victim["id"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_half_a_response_is_cut_so_that_it_shows(
    cluster: Cluster, counts: Path, version: str
) -> None:
    with Wire(cluster.address) as wire:
        wire.send(request("GET", "/partial/1000", version=version))
        eventually(lambda: counts.read_text() == "partial\n")
        kill(cluster, holder(cluster))
        with pytest.raises(ConnectionResetError):
            wire.rest()


@pytest.mark.parametrize(("size", "done"), [(12_000_000, 1), (30_000_000, 0)])
def test_a_response_that_a_slow_client_is_still_reading_is_cut(
    cluster: Cluster, size: int, done: int
) -> None:
    """The smaller one has been left to the event loop; for the larger one a thread stays."""
    with Wire(cluster.address, receive_buffer=4096) as wire:
        wire.get(f"/big/{size}")
        assert wire.sock.recv(1, socket.MSG_PEEK)
        eventually(lambda: cluster.status()["requests"] == done)
        kill(cluster, holder(cluster))
        with pytest.raises(ConnectionResetError):
            wire.rest()


def test_what_follows_a_refused_request_is_never_run(
    cluster: Cluster, wire: Wire, counts: Path
) -> None:
    """The worker has answered 400 and reads on only to close in order; then it dies."""
    smuggled = request("POST", "/echo/smuggled", "Content-Length: 0")
    wire.send(b"GET /echo/x HTTP/1.1\r\nHost: test\r\nContent-Length: nonsense\r\n\r\n")
    assert wire.reply().status == 400
    victim = holder(cluster)
    kill(cluster, victim)
    with suppress(ConnectionError):
        wire.send(smuggled)
        assert wire.rest() == b""
    with Wire(cluster.address) as other:  # whoever got the smuggled one has served it by now
        for _ in range(8):
            other.ask()
    assert posts_run(counts)["smuggled"] == 0


def test_a_client_that_has_said_all_and_waits_is_answered(
    cluster: Cluster, wire: Wire, counts: Path, gate: Path
) -> None:
    """It has shut its sending side behind the request."""
    wire.get("/wait/x")
    victim = running(cluster, counts, "x")
    wire.sock.shutdown(1)
    kill(cluster, victim)
    gate.touch()
    assert wire.reply().text == "waited x"


def test_a_client_that_has_reset_is_not_served_again(
    cluster: Cluster, wire: Wire, counts: Path, gate: Path
) -> None:
    wire.get("/wait/x")
    victim = running(cluster, counts, "x")
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    eventually(lambda: cluster.status()["connections"] == 0)
    kill(cluster, victim)
    gate.touch()
    eventually(cluster.ready)
    assert counts.read_text() == "running x\n"


# Changes while the workers are too busy to hear


def occupy_all_threads(cluster: Cluster, counts: Path, stack: ExitStack) -> list[Wire]:
    wires = [stack.enter_context(Wire(cluster.address)).get(f"/wait/{n}") for n in range(8)]
    eventually(lambda: counts.read_text().count("running") == 8)
    return wires


@pytest.mark.parametrize("workers", [2, 1])
def test_busy_workers_that_are_behind_leave_when_they_are_told(
    cluster: Cluster, counts: Path, gate: Path, workers: int
) -> None:
    """Their channels are full: what they are told must not be lost."""
    old = {*pids(cluster).values()}
    with ExitStack() as stack:
        wires = occupy_all_threads(cluster, counts, stack)
        late = [stack.enter_context(Wire(cluster.address)).get("/echo/x") for _ in range(700)]
        eventually(lambda: cluster.status()["connections"] == len(wires) + len(late))
        if workers == 2:
            control(cluster, "reload")
        else:
            control(cluster, "scale", to="1")
        gate.touch()
        assert [wire.reply().text for wire in wires] == [f"waited {n}" for n in range(8)]
        assert {wire.reply().status for wire in late} == {200}
        eventually(lambda: len(old & present(cluster)) == 2 - workers, within=10)


def present(cluster: Cluster) -> set[int]:
    """The processes of all workers, also of those that leave."""
    return {worker["pid"] for worker in cluster.status()["workers"]}


def test_a_frozen_worker_is_continued_when_it_is_to_leave(cluster: Cluster, wire: Wire) -> None:
    victim = holder(cluster)
    freeze(victim["pid"])
    wire.get("/echo/x")
    control(cluster, "reload")
    assert wire.reply().status == 200
    eventually(lambda: victim["pid"] not in present(cluster), within=10)


# The channel itself


def test_last_words_are_heard_although_not_all_was_read() -> None:
    channel, theirs = Channel.pair()
    other = Channel(theirs)
    assert other.send(b"pinned")
    assert channel.send(b"never read")
    other.close()
    received = channel.receive()
    assert received
    assert bytes(received[0]) == b"pinned"
    with pytest.raises(ChannelClosed):
        channel.receive()
    channel.close()
