"""An app that computes gets no more threads than help; a busy machine looks like waiting."""

from __future__ import annotations

from contextlib import ExitStack

from tests.cluster.tools import Request
from tests.support import StartCluster


def test_what_computes_gets_one_thread_more_and_no_others(start_cluster: StartCluster) -> None:
    cluster = start_cluster("waits:app", "-w", "1", "--threads", "2:16").ready()
    with ExitStack() as stack:
        asked = [stack.enter_context(Request(cluster.address, "/compute/0.05")) for _ in range(24)]
        seen: set[int] = set()
        for request in asked:
            assert request.reply().status == 200
            seen.update(worker["threads"] for worker in cluster.workers())
    # A machine that does not let a thread run makes it look as if it waited.
    assert max(seen) <= 4
