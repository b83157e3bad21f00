"""Processes that were stopped (SIGSTOP), or hang, as they are to leave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.tools import control, freeze, zombies_below
from tests.support import Cluster, StartCluster, alive, children, eventually, pool_of, title

AT_ONCE = 3.0
"""Seconds, of the 30 that --graceful-timeout gives."""

HANGS = """
import time

def on_exit(server):
    time.sleep(3600)
"""


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    return start_cluster("echo:app", "-w", "2").ready()


def assert_stops_at_once(cluster: Cluster) -> None:
    everybody = cluster.pids()
    began = time.monotonic()
    cluster.process.terminate()
    assert cluster.process.wait(15) == 0
    assert time.monotonic() - began < AT_ONCE
    assert not any(map(alive, everybody))


def test_a_stop_with_a_stopped_pool(cluster: Cluster) -> None:
    freeze(pool_of(cluster))
    assert_stops_at_once(cluster)


def test_a_stop_with_a_stopped_worker(cluster: Cluster) -> None:
    freeze(cluster.workers()[0]["pid"])
    assert_stops_at_once(cluster)


def test_a_stop_with_a_stopped_pool_that_was_to_fork(cluster: Cluster) -> None:
    freeze(pool_of(cluster))
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: any(worker["pid"] is None for worker in cluster.status()["workers"]))
    assert_stops_at_once(cluster)


def test_a_reload_leaves_no_stopped_pool_behind(cluster: Cluster) -> None:
    old = pool_of(cluster)
    freeze(old)
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: any(worker["pid"] is None for worker in cluster.status()["workers"]))
    control(cluster, "reload")
    eventually(lambda: not Path(f"/proc/{old}").exists())
    assert zombies_below(cluster.pid) == []
    assert {worker["generation"] for worker in cluster.status()["workers"]} == {2}


def test_a_reload_leaves_no_pool_behind_that_hangs(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(HANGS)
    options = ("--graceful-timeout", "0.5", "--gunicorn-config", str(config))
    cluster = start_cluster("echo:app", "-w", "1", *options).ready()
    old = pool_of(cluster)
    control(cluster, "reload")
    eventually(lambda: not Path(f"/proc/{old}").exists())
    assert "not finished in time: the pool of generation 1" in cluster.log
    (pool,) = children(cluster.pid)
    assert "gen 2" in title(pool)
