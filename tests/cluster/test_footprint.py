"""What a cluster costs when it does nothing, and how soon it serves: stated limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.cluster.tools import ask, cpu_seconds, free_port, resident_bytes, session
from tests.support import ROOT, Cluster, StartCluster, alive, children, eventually

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


GUNICORN = "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4"
TRIES = 3


def seconds_to_serve(command: Sequence[str], port: int, home: Path) -> float:
    """From the start of a server to its first answer."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LAUNCHER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: answers(("127.0.0.1", port)), within=30)
        return time.monotonic() - begun
    finally:
        left = session(process.pid)
        process.terminate()
        process.wait(30)
        eventually(lambda: not any(map(alive, left)), within=30)


def answers(address: tuple[str, int]) -> bool:
    """Whether a request is answered; one that is only accepted waits for its answer."""
    try:
        return ask(address) >= 0
    except EOFError:
        return False


def test_it_serves_its_first_request_about_as_soon_as_gunicorn_alone(tmp_path: Path) -> None:
    port = free_port()
    bind = "--bind", f"127.0.0.1:{port}"
    ours = "-m", "launcher", "run", *bind, "--workers", "2"
    theirs = *GUNICORN, *bind, "app:create_app()"
    times = [
        (seconds_to_serve(ours, port, tmp_path), seconds_to_serve(theirs, port, tmp_path))
        for _ in range(TRIES)
    ]
    fastest, reference = (min(column) for column in zip(*times, strict=True))
    assert fastest < 1.5 * reference, times
