"""``--max-requests``: a worker stops in time, nothing is lost, and somebody always serves."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from pathlib import Path

import pytest

from launcher.policy.fitness import staggered
from tests.cluster.tools import Request
from tests.support import Cluster, StartCluster, eventually

THREADS = 4


class Visitors:
    """Clients that ask ``/who`` again and again on connections they keep; all is answered."""

    def __init__(self, cluster: Cluster, count: int) -> None:
        self.answers: Counter[int] = Counter()
        self.slots: dict[int, int] = {}
        self.failures: list[BaseException] = []
        self._address = cluster.address
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
        assert self.failures == []

    def _visit(self) -> None:
        try:
            with Request(self._address, "/who", keep=True) as request:
                self._note(request)
                while not self._enough.is_set():
                    request.again("/who")
                    self._note(request)
        except BaseException as error:
            self.failures.append(error)

    def _note(self, request: Request) -> None:
        reply = request.reply()
        assert reply.status == 200, reply
        who = json.loads(reply.text)
        self.answers[who["id"]] += 1
        self.slots[who["id"]] = who["slot"]


@pytest.mark.parametrize(("workers", "limit"), [(1, 1), (1, 50), (2, 50)])
def test_a_worker_runs_as_many_requests_as_it_is_to_and_what_had_begun(
    start_cluster: StartCluster, workers: int, limit: int
) -> None:
    cluster = start_cluster(
        "echo:app", "-w", str(workers), "--threads", str(THREADS), "--max-requests", str(limit)
    ).ready()
    visitors = Visitors(cluster, 16)
    eventually(lambda: visitors.failures or len(visitors.answers) >= 6, within=20)
    status = cluster.status()
    visitors.stop()
    launching = [each for each in status["workers"] if each["status"] == "launching"]
    assert len(launching) <= 1, "one after the other"
    went_on = {int(each) for each in re.findall(r"worker (\d+) \(.*\) goes on", cluster.log)}
    assert len(went_on) <= 1, "a fork takes less than half a second, as a rule"
    for worker, slot in visitors.slots.items():
        if worker in went_on:
            continue
        most = int(staggered(limit, slot, workers)) + THREADS - 1
        assert visitors.answers[worker] <= most, (worker, slot, visitors.answers)
    full = [worker for worker, slot in visitors.slots.items() if slot == 0][:-1]
    assert all(visitors.answers[worker] >= limit for worker in full)
    assert cluster.status()["restarts"]["crash"] == 0


def test_where_nobody_else_can_a_spent_worker_goes_on_until_its_replacement_is_ready(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    options = ("-w", "1", "--no-preload", "--max-requests", "5")
    cluster = start_cluster("gate:app", *options, GATE=str(gate)).ready()
    gate.unlink()
    visitors = Visitors(cluster, 4)
    eventually(lambda: visitors.failures or visitors.answers[1] > 20)
    assert {each["status"] for each in cluster.status()["workers"]} == {"online", "launching"}
    assert re.search(r"worker 1 \(.*\) goes on: nobody else is ready", cluster.log)
    gate.touch()
    eventually(lambda: visitors.failures or visitors.answers[2])
    visitors.stop()
    assert cluster.status()["restarts"]["crash"] == 0


def test_a_health_check_does_not_count(start_cluster: StartCluster) -> None:
    options = ("-w", "1", "--max-requests", "1", "--health-path", "/clustered")
    cluster = start_cluster("echo:app", *options).ready()
    assert cluster.status()["workers"][0]["requests"] == 1
    visitors = Visitors(cluster, 1)
    eventually(lambda: visitors.failures or len(visitors.answers) > 2)
    visitors.stop()
    assert visitors.answers[1] == 1


def test_a_stop_in_between_loses_nothing(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--max-requests", "1").ready()
    with Request(cluster.address, "/sleep/0.5") as running:
        eventually(lambda: "has begun its last request" in cluster.log)
        with Request(cluster.address) as waiting:
            cluster.process.terminate()
            assert waiting.reply().status == 200
        assert running.reply().text == "slept"
    assert cluster.stop() == 0
