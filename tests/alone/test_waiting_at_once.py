"""Requests that wait are run side by side, however many threads there were before they came."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.cluster.tools import Request
from tests.support import StartCluster, eventually


def test_64_that_wait_at_once_are_run_at_once(start_cluster: StartCluster) -> None:
    cluster = start_cluster("waits:app", "-w", "2").ready()
    with ExitStack() as stack:
        begun = time.monotonic()
        asked = [stack.enter_context(Request(cluster.address, "/sleep/4.0")) for _ in range(64)]
        eventually(lambda: sum(worker["active"] for worker in cluster.workers()) == 64)
        assert {request.reply().status for request in asked} == {200}
        # One after another on 4 threads each they would take 32 s.
        assert time.monotonic() - begun < 16
    for worker in cluster.workers():
        assert worker["active"] <= worker["threads"] <= worker["threads_max"] == 64
        assert worker["streaming"] == 0
    assert cluster.status()["waiting"] == 0
