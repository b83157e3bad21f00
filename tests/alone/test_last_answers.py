"""Who is answered by a worker that leaves is told so, and loses no request for want of that."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.regulars import SLOWEST, Regulars
from tests.faults.tools import control
from tests.http.wire import Wire
from tests.support import APPS, Cluster, StartCluster, alive, eventually

CLIENTS = 20

GRACE = 1.0
"""Seconds that a stop may take beyond the longest request."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the app, a self-signed certificate, and a configuration that names it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copy(APPS / "echo.py", folder)
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *options], cwd=folder, check=True, capture_output=True)
    config = f"certfile = '{folder}/cert.pem'\nkeyfile = '{folder}/key.pem'\n"
    (folder / "gunicorn.conf.py").write_text(config)
    return folder


@pytest.fixture
def cluster(start_cluster: StartCluster, tmp_path: Path) -> Cluster:
    return start_cluster("echo:app", "-w", "2", COUNT_FILE=str(tmp_path / "counts")).ready()


def address_of(cluster: Cluster) -> Any:
    bound = cluster.status()["bind"][0]
    return bound.removeprefix("unix:") if bound.startswith("unix:") else cluster.address


def retire_a_worker(cluster: Cluster) -> float:
    """End the worker with most connections in an orderly way; seconds until it is gone."""
    pid = max(cluster.workers(), key=lambda worker: worker["connections"])["pid"]
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not alive(pid))
    return time.monotonic() - began


WAYS = {
    "tcp": ["--policy", "round-robin"],
    "unix": ["--bind", "unix:web.sock"],
    "kernel": ["--policy", "kernel"],
    "tls": ["--gunicorn-config", "gunicorn.conf.py"],
}
TRAVELS = {"tcp", "unix"}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_by_the_end_of_a_worker_nor_by_a_stop(
    start_cluster: StartCluster, place: Path, way: str
) -> None:
    cluster = start_cluster(
        "echo:app", "-w", "2", *WAYS[way], folder=place, COUNT_FILE=str(place / "counts")
    ).ready()
    tls = ssl.create_default_context(cafile=str(place / "cert.pem")) if way == "tls" else None
    with Regulars(address_of(cluster), CLIENTS, tls) as clients:
        eventually(clients.busy)
        assert retire_a_worker(cluster) <= SLOWEST + GRACE
        assert clients.fates.lost == []
        assert (clients.fates.told == 0) == (way in TRAVELS)
        began = time.monotonic()
        cluster.process.terminate()
        assert cluster.process.wait(15) == 0
        took = time.monotonic() - began
        fates = clients.until_all_are_gone(within=10)
        assert fates.lost == []
        assert fates.told == CLIENTS
    assert took <= SLOWEST + GRACE


def test_the_command_stop_loses_nothing_either(cluster: Cluster) -> None:
    with Regulars(cluster.address, CLIENTS) as clients:
        eventually(clients.busy)
        assert cluster.command("stop", "all").returncode == 0
        fates = clients.until_all_are_gone(within=10)
        assert fates.lost == []
        assert fates.told == CLIENTS
    assert cluster.process.wait(15) == 0


def test_a_stop_hears_who_was_promised_an_answer_but_waits_for_nobody(cluster: Cluster) -> None:
    """None of these clients closes; and the request that comes in time is still answered."""
    with ExitStack() as stack:
        silent, idle, late = (stack.enter_context(Wire(cluster.address)) for _ in range(3))
        for wire in (idle, late):
            assert not wire.ask("/echo/x").closes
        began = time.monotonic()
        cluster.process.terminate()
        eventually(lambda: "stopping" in cluster.log)
        assert late.ask("/echo/y").closes
        assert cluster.process.wait(15) == 0
        assert time.monotonic() - began <= GRACE
        assert late.is_closed()
        assert idle.is_closed()
        assert silent.is_closed()


def test_a_stop_amid_a_reload_loses_nothing(cluster: Cluster) -> None:
    """The workers that the reload has retired are busy still; the others are there already."""
    with ExitStack() as stack:
        busy = [stack.enter_context(Wire(cluster.address)) for _ in range(6)]
        for wire in busy:
            assert not wire.ask("/echo/x").closes
        for wire in busy:
            wire.get("/echo/x?sleep=2")
        control(cluster, "reload")
        cluster.process.terminate()
        eventually(lambda: "stopping" in cluster.log)
        assert [wire.response().closes for wire in busy] == [True] * len(busy)
        assert cluster.process.wait(15) == 0


def test_who_is_refused_by_a_stop_does_not_hold_it_up(start_cluster: StartCluster) -> None:
    cluster = start_cluster("gate:app", "-w", "1", GATE="/nowhere")
    eventually(lambda: cluster.status()["status"] == "launching")
    with Wire(cluster.address) as waiting:
        waiting.get("/echo/x")
        eventually(lambda: cluster.status()["connections"] == 1)
        began = time.monotonic()
        cluster.process.terminate()
        assert waiting.response().closes
        cluster.process.wait(15)
        assert time.monotonic() - began <= GRACE
