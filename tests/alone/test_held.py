"""Responses that are held to go out together are not late."""

from __future__ import annotations

from tests.faults.tools import assert_nothing_lost, progress
from tests.faults.wire import Wire
from tests.load import Load
from tests.support import StartCluster

LATE = 0.5
"""Seconds; the slow request takes twice as long."""


def test_no_response_waits_behind_a_slow_request(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--threads", "4").ready()
    with Load(cluster.address, keep_alive=32) as load, Wire(cluster.address) as slow:
        for _ in range(5):
            progress(load)
            slow.get("/sleep/1.0")
            progress(load)
            assert slow.reply().status == 200
        books = load.stop()
    assert_nothing_lost(books)
    assert max(books.latencies) < LATE
