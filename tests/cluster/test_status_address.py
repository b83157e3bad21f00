"""The status address of real clusters: no state of the workers holds up a probe."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import requests

from tests.support import Cluster, StartCluster, eventually, pool_of

AT_ONCE = 0.05
"""Seconds within which a probe is answered: what is promised."""


def status_url(cluster: Cluster) -> str:
    found = re.search(r"status at (http://\S+):", cluster.log)
    assert found
    return found[1]


def code(url: str) -> int:
    return requests.get(url, timeout=5).status_code


def quickest(url: str, tries: int = 5) -> float:
    """Seconds of the quickest of some answers: the machine may be busy with other things."""
    times = []
    for _ in range(tries):
        began = time.monotonic()
        assert code(url) == 200
        times.append(time.monotonic() - began)
    return min(times)


def test_stopped_workers_and_a_dead_pool_hold_up_no_probe(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "--workers", "2", "--status-bind", "127.0.0.1:0").ready()
    url = status_url(cluster)
    silent = [
        socket.create_connection((url.split("/")[2].split(":")[0], int(url.rpartition(":")[2])))
        for _ in range(50)
    ]
    assert requests.get(f"{url}/status.json", timeout=5).json()["status"] == "online"
    pids = [worker["pid"] for worker in cluster.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert quickest(f"{url}/livez") < AT_ONCE
    assert code(f"{url}/readyz") == 200
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    os.kill(pool_of(cluster), signal.SIGKILL)
    assert quickest(f"{url}/livez") < AT_ONCE
    for client in silent:
        client.close()


def test_ready_in_a_reload_and_no_more_once_a_stop_begins(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "--workers", "2", "--status-bind", "127.0.0.1:0").ready()
    url = status_url(cluster)
    name = cluster.status()["name"]
    codes = []
    over = threading.Event()

    def probe() -> None:
        while not over.wait(0.01):
            codes.append(code(f"{url}/readyz"))

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        assert cluster.command("reload", name).returncode == 0
        assert cluster.command("scale", name, "3").returncode == 0
        killed = cluster.workers()[0]["pid"]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in [each["pid"] for each in cluster.workers()])
        cluster.ready()
    finally:
        over.set()
        thread.join()
    assert len(codes) > 10
    assert {*codes} == {200}

    slow = threading.Thread(
        target=lambda: requests.get(f"{cluster.url}/echo/x?sleep=1", timeout=10), daemon=True
    )
    slow.start()
    eventually(lambda: cluster.status()["active"] == 1)
    os.kill(cluster.pid, signal.SIGTERM)
    assert eventually(lambda: _refused(url)).startswith("stopping, ")
    assert code(f"{url}/livez") == 200, "open to the end of the stop"
    slow.join()
    assert cluster.process.wait(10) == 0


def _refused(url: str) -> str | None:
    """Why it is not ready."""
    answer = requests.get(f"{url}/readyz", timeout=5)
    return answer.text if answer.status_code == 503 else None


def test_not_ready_without_a_worker_and_not_alive_once_given_up(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    app = tmp_path / "brittle.py"
    text = "def app(environ, start):\n    start('200 OK', [])\n    return [b'']\n"
    app.write_text(text)
    path = tmp_path / "status"
    cluster = start_cluster(
        "brittle:app",
        *("--workers", "1", "--max-restarts", "1", "--no-preload"),
        *("--status-bind", f"unix:{path}"),
        folder=tmp_path,
    ).ready()
    assert _ask(path, "/readyz").startswith("HTTP/1.1 200 ")
    app.write_text("raise SystemExit(9)\n")
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: _ask(path, "/readyz").startswith("HTTP/1.1 503 "))
    eventually(lambda: _ask(path, "/livez").startswith("HTTP/1.1 503 "))
    assert "errored, 0 of 1 workers online" in _ask(path, "/readyz")
    cluster.stop()
    assert not path.exists()


def _ask(path: Path, page: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(f"GET {page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def test_an_address_that_is_in_use_is_told_with_its_option(start_cluster: StartCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        cluster = start_cluster("echo:app", "--status-bind", address)
        assert cluster.process.wait(10) == 1
    assert cluster.log.endswith(
        f"launcher: cannot listen on {address}: it is in use; stop what uses it,"
        " or choose another with --status-bind\n"
    )
