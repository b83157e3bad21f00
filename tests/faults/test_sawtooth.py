"""A load that comes and goes: threads are started and leave again, and none is lost count of."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from tests.cluster.tools import Request
from tests.support import Cluster, StartCluster, eventually

MINUTES = 5
PERIOD = 50.0
"""Seconds from one crest to the next: threads leave after 30 without a request, one a second."""

AT_ONCE = 62
"""Of 64 threads; the last two are not for paths that were never seen."""


def worker_of(cluster: Cluster) -> dict[str, Any]:
    (worker,) = cluster.workers()
    return worker


def others(cluster: Cluster) -> int:
    """Threads of the worker that serve no requests, or that it does not know of."""
    worker = worker_of(cluster)
    return len(os.listdir(f"/proc/{worker['pid']}/task")) - int(worker["threads"])


def is_past(moment: float) -> bool:
    return time.monotonic() > moment


@pytest.mark.long
def test_five_minutes_of_crests_and_troughs(start_cluster: StartCluster) -> None:
    cluster = start_cluster("waits:app", "-w", "1", "--threads", "4:64").ready()
    pid, no_servers = worker_of(cluster)["pid"], others(cluster)
    begun = time.monotonic()
    for crest in range(round(MINUTES * 60 / PERIOD)):
        with ExitStack() as stack:
            asked = [
                stack.enter_context(Request(cluster.address, "/sleep/3.0")) for _ in range(AT_ONCE)
            ]
            # All at once, however many have left since the last crest: the capacity is back.
            eventually(lambda: worker_of(cluster)["active"] == AT_ONCE)
            assert {request.reply().status for request in asked} == {200}
        assert eventually(lambda: others(cluster) == no_servers)
        high = worker_of(cluster)["threads"]
        assert AT_ONCE <= high <= 64
        eventually(partial(is_past, begun + (crest + 1) * PERIOD), PERIOD + 10)
        assert worker_of(cluster)["threads"] < high - 5
        assert eventually(lambda: others(cluster) == no_servers)
    assert worker_of(cluster)["pid"] == pid
    eventually(lambda: worker_of(cluster)["threads"] == 4, 90)
    assert eventually(lambda: others(cluster) == no_servers)
