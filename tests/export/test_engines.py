"""HAProxy and nginx themselves, with the files exported for them, before a real cluster."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests

from launcher.export import haproxy, nginx
from tests.export.test_proxies import HAPROXY, NGINX
from tests.export.tools import answering, cluster, wishes
from tests.support import Cluster, StartCluster, children, eventually

ODD = 'it\'s "a" $HOME {x};#é'

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(words: Sequence[str | Path]) -> Iterator[None]:
    """A proxy in the foreground, ended afterwards."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.stdout
            print(process.stdout.read().decode())


@contextlib.contextmanager
def proxy(engine: str, text: str, place: Path) -> Iterator[str]:
    """The engine with this file, which listens on another port than 80; its address."""
    port = free_port()
    program = {"haproxy": HAPROXY, "nginx": NGINX}[engine]
    if not program:
        pytest.skip(f"{engine} is not installed")
    path = place / f"{engine}.conf"
    if engine == "haproxy":
        path.write_text(text.replace("bind :80\n", f"bind 127.0.0.1:{port}\n"))
        words: list[str | Path] = [program, "-db", "-f", path]
    else:
        user = "user root;\n" if os.geteuid() == 0 else ""
        own = f"daemon off;\npid {place}/pid;\n{user}"
        path.write_text(own + re.sub("listen 80 ", f"listen 127.0.0.1:{port} ", text))
        words = [program, "-c", path, "-p", place, "-e", "stderr"]
    with running(words):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("engine", ["haproxy", "nginx"])
def test_a_cluster_on_a_unix_socket_of_an_odd_name_is_found(
    start_cluster: StartCluster, tmp_path: Path, engine: str
) -> None:
    # Not in tmp_path: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="odd-") as folder, answering(200) as port:
        odd = ODD.replace("$", "%") if engine == "haproxy" else ODD
        bind = f"unix:{folder}/{odd}.sock"
        start_cluster("echo:app", "-w", "1", "--bind", bind).ready()
        subject = cluster(tmp_path, bind=(bind,), status_bind=f"127.0.0.1:{port}")
        export = {"haproxy": haproxy.export, "nginx": nginx.export}[engine]
        (file,) = export([subject], wishes())
        with proxy(engine, file.stamped(engine), tmp_path) as address:
            answer = eventually(lambda: requests.get(f"{address}/clustered", timeout=5))
            assert answer.status_code == 200, answer.text
            sent = requests.post(f"{address}/length", data=b"x" * 100_000, timeout=5)
            assert sent.status_code == 200, sent.text


COUNTER = """
import os, time

FILE = os.open(os.environ["COUNTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def app(environ, start_response):
    os.write(FILE, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\\n".encode())
    environ["wsgi.input"].read()
    time.sleep(0.02)  # some run at any moment, so some are cut
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CLIENTS, EACH = 8, 150


class Client(threading.Thread):
    """Sends a GET and a POST in turn, on a kept connection and on new ones; notes what fails."""

    def __init__(self, address: str, number: int, progress: threading.Semaphore) -> None:
        super().__init__()
        self.address, self.number, self.progress = address, number, progress
        self.failed: list[str] = []

    def run(self) -> None:
        with requests.Session() as session:
            for turn in range(EACH):
                method, body = ("GET", None) if turn % 2 else ("POST", b"x")
                path = f"/{self.number}-{turn}"
                headers = {"Connection": "close"} if turn % 4 > 1 else {}
                try:
                    answer = session.request(
                        method, self.address + path, data=body, headers=headers, timeout=30
                    )
                    if answer.status_code != 200:
                        self.failed.append(f"{method} {path}: {answer.status_code}")
                except requests.RequestException as error:
                    self.failed.append(f"{method} {path}: {error}")
                self.progress.release()


@pytest.mark.parametrize("engine", ["haproxy", "nginx"])
def test_a_host_that_is_killed_costs_no_get_and_repeats_no_post(
    start_cluster: StartCluster, tmp_path: Path, engine: str
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.py").write_text(COUNTER)
    counted = tmp_path / "counted"
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(answering(200, HOSTS[0]))
        for host in HOSTS[1:]:
            stack.enter_context(answering(200, host, status))
        port = free_port()
        clusters = [
            start_cluster(
                *("shop:app", "-w", "2", "--bind", f"{host}:{port}", "-n", f"shop-{host}"),
                folder=project,
                COUNTED=str(counted),
            )
            for host in HOSTS
        ]
        for each in clusters:
            each.ready()
        subject = cluster(
            tmp_path, bind=(f"0.0.0.0:{port}",), status_bind=f"0.0.0.0:{status}", workers="2"
        )
        export = {"haproxy": haproxy.export, "nginx": nginx.export}[engine]
        (file,) = export([subject], wishes(hosts=HOSTS))
        address = stack.enter_context(proxy(engine, file.stamped(engine), tmp_path))
        eventually(lambda: requests.get(address, timeout=5))
        progress = threading.Semaphore(0)
        crowd = [Client(address, number, progress) for number in range(CLIENTS)]
        for client in crowd:
            client.start()
        for _ in range(CLIENTS * EACH // 3):
            assert progress.acquire(timeout=30)
        kill_all(clusters[1])
        for client in crowd:
            client.join(60)
    failed = [line for client in crowd for line in client.failed]
    assert [line for line in failed if line.startswith("GET")] == []
    assert len(failed) <= CLIENTS, "only what was running there"
    posts = [line for line in counted.read_text().splitlines() if line.startswith("POST")]
    assert len({*posts}) == len(posts)
    assert len(posts) >= CLIENTS * EACH // 2 - len(failed)


def kill_all(host: Cluster) -> None:
    """Every process of a cluster at once, as far as that is possible from outside."""
    pools = children(host.pid)
    workers = [pid for pool in pools for pid in children(pool)]
    for pid in (host.pid, *pools, *workers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
