"""What a cluster costs when it does nothing: stated limits."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from tests.cluster.tools import ask, cpu_seconds, resident_bytes
from tests.support import Cluster, StartCluster, children, eventually

WATCHED = 5.0


def test_an_idle_primary_is_small_and_sleeps(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    for _ in range(20):
        ask(cluster.address)
    cpu, begun = cpu_seconds(cluster.pid), time.monotonic()
    eventually(lambda: time.monotonic() > begun + WATCHED, within=3 * WATCHED)
    used, watched = cpu_seconds(cluster.pid) - cpu, time.monotonic() - begun
    assert watched >= WATCHED
    assert used / watched < 0.005
    assert resident_bytes(cluster.pid) < 25 << 20


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
