"""HAProxy and nginx themselves, with the files exported for them, before a real cluster."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests

from launcher.export import haproxy, nginx
from tests.export.test_proxies import HAPROXY, NGINX
from tests.export.tools import answering, cluster, wishes
from tests.support import StartCluster, eventually

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
