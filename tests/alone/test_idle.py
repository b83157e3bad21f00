"""What a cluster costs when it does nothing: stated limits."""

from __future__ import annotations

import time
from pathlib import Path

from tests.cluster.tools import ask, cpu_seconds, resident_bytes
from tests.faults.tools import pass_time
from tests.support import StartCluster

WATCHED = 3.0
WINDOWS = 3
"""What disturbs the machine only ever adds, so the calmest of these counts."""


def test_an_idle_primary_is_small_and_sleeps(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    for _ in range(20):
        ask(cluster.address)
    windows = []
    for _ in range(WINDOWS):
        windows.append(idle_window(cluster.pid))
        if is_calm(windows):
            break
    assert is_calm(windows), windows
    assert resident_bytes(cluster.pid) < 25 << 20


def is_calm(windows: list[tuple[float, float]]) -> bool:
    """Whether what was measured is below the limits, each in the calmest of the windows."""
    return min(share for share, _ in windows) < 0.005 and min(wakes for _, wakes in windows) < 2


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
