"""Workers that cannot live: how often others are forked, and what that costs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.tools import cpu_seconds, forks_in
from tests.support import Cluster, eventually, sized

WINDOW = sized(2.5, 10.0)
MOST = sized(9, 12)
"""Forks in the first window: two more than the policy allows for (tests/policy/test_restart.py)."""


@dataclass
class CrashLoop:
    """What was seen of a cluster whose workers die, for twice `WINDOW` seconds."""

    cluster: Cluster
    forks: list[float]
    cpu: float
    """Of the primary, in seconds."""
    seconds: float

    def forks_between(self, begin: float, end: float) -> int:
        """How many processes were forked then, counted from the first."""
        return sum(begin <= fork - self.forks[0] < end for fork in self.forks)


LOOPS = {
    "at the fork": ("dies_at_fork:app", "-w", "2"),
    "just after it was online": ("dies_online:app", "-w", "2"),
    "at the fork, 16 of them": ("dies_at_fork:app", "-w", "16"),
}


@pytest.fixture(scope="module")
def crash_loops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, CrashLoop]]:
    """All loops side by side: the time is what is measured, so it is spent once."""
    with contextlib.ExitStack() as stack:
        loops = {}
        for name, arguments in LOOPS.items():
            log = tmp_path_factory.mktemp("loop") / "forks"
            command = *arguments, "--max-restarts", "1000"
            cluster = Cluster(log.parent / "home", *command, COUNT_FILE=str(log))
            stack.callback(cluster.stop)
            eventually(partial(forks_in, log), within=30)
            begun = time.monotonic()
            loops[name] = (cluster, log, cpu_seconds(cluster.pid), begun)
        eventually(lambda: time.monotonic() > begun + 2 * WINDOW, within=3 * WINDOW)
        yield {name: seen_of(*loop) for name, loop in loops.items()}


def seen_of(cluster: Cluster, log: Path, cpu: float, begun: float) -> CrashLoop:
    used, seconds = cpu_seconds(cluster.pid) - cpu, time.monotonic() - begun
    return CrashLoop(cluster, forks_in(log), used, seconds)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_crash_loop_forks_at_most_so_often_at_first_and_3_times_after_that(
    crash_loops: dict[str, CrashLoop], loop: str
) -> None:
    seen = crash_loops[loop]
    assert 2 <= seen.forks_between(0, WINDOW) <= MOST
    assert seen.forks_between(WINDOW, 2 * WINDOW) <= 3


@pytest.mark.parametrize("loop", LOOPS)
def test_a_crash_loop_costs_the_primary_less_than_3_percent_of_a_core(
    crash_loops: dict[str, CrashLoop], loop: str
) -> None:
    seen = crash_loops[loop]
    assert seen.seconds >= 2 * WINDOW
    assert seen.cpu / seen.seconds < 0.03


@pytest.mark.parametrize(("loop", "status"), [("at the fork", 5), ("just after it was online", 6)])
def test_a_crash_loop_is_explained(
    crash_loops: dict[str, CrashLoop], loop: str, status: int
) -> None:
    cluster = crash_loops[loop].cluster
    reason = rf"worker \d+ \(slot [01], pid \d+\) exited with status {status}"
    assert re.fullmatch(reason, cluster.status()["error"])
    assert re.search(rf"^  error: {reason}$", cluster.command("list").stdout, re.MULTILINE)
