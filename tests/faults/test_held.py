"""Responses that are held to go out together are not lost."""

from __future__ import annotations

from pathlib import Path

from tests.faults.tools import frozen, progress
from tests.faults.wire import Wire
from tests.load import Load
from tests.support import StartCluster, eventually

UNASKED = 5.0
"""Seconds within which a response comes that no further request helps along."""

ENOUGH = 100
"""Quick requests after which responses are held."""


def test_a_response_is_sent_when_its_thread_has_lost_the_lead(start_cluster: StartCluster) -> None:
    """Whoever leads by then waits for an event already, and does not know of it."""
    address = start_cluster("echo:app", "-w", "1", "--threads", "4").ready().address
    with (
        Wire(address, UNASKED) as first,
        Wire(address, UNASKED) as slower,
        Wire(address, UNASKED) as last,
    ):
        slower.ask()
        for _ in range(30):
            for _ in range(ENOUGH):
                first.ask()
            first.get("/echo/x")
            slower.get("/sleep/0.003")
            last.get("/echo/x")
            assert [wire.reply().status for wire in (first, last, slower)] == [200] * 3


def test_no_response_is_held_when_no_other_thread_could_send_it(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    count, gate = tmp_path / "count", tmp_path / "gate"
    files = {"COUNT_FILE": str(count), "GATE": str(gate)}
    cluster = start_cluster("faulty:app", "-w", "1", "--threads", "2", **files).ready()
    address = cluster.address
    with (
        Wire(address, UNASKED) as quick,
        Wire(address) as slow,
        Wire(address) as other,
        Wire(address) as last,
    ):
        for wire in (other, last):
            wire.ask()
        for _ in range(ENOUGH):
            quick.ask()
        slow.get("/wait/slow")
        eventually(lambda: "running slow" in count.read_text())
        with frozen(cluster.workers()[0]["pid"]):
            quick.get("/echo/x")
            other.get("/wait/other")
            last.get("/echo/x")
        assert quick.reply().status == 200
        gate.touch()
        assert [wire.reply().status for wire in (slow, other, last)] == [200] * 3


def test_a_stop_sends_what_is_held(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--threads", "4").ready()
    with Load(cluster.address, one_shot=16) as load:
        progress(load, 5)
        assert cluster.stop() == 0
    unanswered = [line for line in load.books.failures if "ConnectionRefused" not in line]
    assert unanswered == []
