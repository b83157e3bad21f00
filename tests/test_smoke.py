"""One cluster goes through all that clusters do: the only one of the quick tier."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.wire import get
from tests.support import StartCluster, eventually


@pytest.mark.quick
def test_it_serves_replaces_a_killed_worker_reloads_and_stops(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    assert get(cluster.address, "/echo/first").text.startswith("first GET")
    before = cluster.workers()
    os.kill(before[0]["pid"], signal.SIGKILL)
    eventually(lambda: before[0]["id"] not in [worker["id"] for worker in cluster.workers()])
    assert get(cluster.address, "/echo/second").text.startswith("second GET")
    replaced = cluster.ready().status()
    assert replaced["restarts"]["crash"] == 1
    done = cluster.command("reload", "echo")
    assert done.returncode == 0, done.stderr
    assert cluster.status()["generation"] == replaced["generation"] + 1
    old = {worker["id"] for worker in replaced["workers"]}
    assert old.isdisjoint(worker["id"] for worker in cluster.workers())
    assert get(cluster.address, "/echo/third").text.startswith("third GET")
    assert cluster.stop() == 0
