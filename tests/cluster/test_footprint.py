"""What is left of what a cluster has done: stated limits."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from tests.cluster.tools import ask, resident_bytes
from tests.support import Cluster, StartCluster, children, eventually


def test_a_primary_that_has_served_thousands_of_connections_is_as_small(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    address = cluster.address
    for _ in range(2000):
        ask(address)
    assert resident_bytes(cluster.pid) < 25 << 20


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def test_dead_workers_and_closed_connections_leave_no_descriptors_behind(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    address = cluster.address
    (pool,) = children(cluster.pid)
    most = [descriptors(cluster.pid), descriptors(pool)]
    for dead in range(1, 9):
        assert {ask(address) for _ in range(4)} == {dead, dead + 1}
        victim = min(cluster.workers(), key=lambda worker: worker["id"])
        os.kill(victim["pid"], signal.SIGKILL)
        eventually(partial(ids_are, cluster, {dead + 1, dead + 2}), within=30)
    eventually(lambda: descriptors(cluster.pid) <= most[0] and descriptors(pool) <= most[1])


def ids_are(cluster: Cluster, ids: set[int]) -> bool:
    return {worker["id"] for worker in cluster.workers()} == ids
