"""What a cluster costs when it does nothing: stated limits."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from tests.cluster.tools import ask, cpu_seconds, resident_bytes
from tests.faults.tools import pass_time
from tests.support import Cluster, StartCluster, children, eventually

WATCHED = 3.0
WINDOWS = 3
"""What disturbs the machine only ever adds, so the calmest of these counts."""


def test_an_idle_primary_is_small_and_sleeps(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    for _ in range(20):
        ask(cluster.address)
    windows = [idle_window(cluster.pid) for _ in range(WINDOWS)]
    assert min(share for share, _ in windows) < 0.005
    assert min(wakes for _, wakes in windows) < 2
    assert resident_bytes(cluster.pid) < 25 << 20


def idle_window(pid: int) -> tuple[float, float]:
    """The share of a core that a process uses for a while, and how often a second it wakes up."""
    cpu, wakes, begun = cpu_seconds(pid), wake_ups(pid), time.monotonic()
    pass_time(WATCHED)
    seconds = time.monotonic() - begun
    return (cpu_seconds(pid) - cpu) / seconds, (wake_ups(pid) - wakes) / seconds


def wake_ups(pid: int) -> int:
    """How often a process has gone to sleep and been woken."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


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
