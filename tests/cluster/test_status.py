"""What a cluster tells of itself while requests run, stream and wait."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import NoneType
from typing import Any

from tests.cluster.tools import Request
from tests.support import Cluster, StartCluster, eventually

APP = """
import os, time

def app(environ, start_response):
    streams = environ["PATH_INFO"] == "/stream"
    start_response("200 OK", [("Content-Length", "10" if streams else "4")])
    return stream() if streams else [wait()]

def wait():
    while not os.path.exists("go"):
        time.sleep(0.005)
    return b"went"

def stream():
    yield b"begun "
    yield wait()
"""

CLUSTER: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "status": (str,),
    "pid": (int,),
    "app": (str,),
    "bind": (list,),
    "policy": (str,),
    "generation": (int,),
    "uptime": (float,),
    "workers_wanted": (int,),
    "sizing": (str,),
    "connections": (int,),
    "waiting": (int,),
    "active": (int,),
    "streaming": (int,),
    "requests": (int,),
    "p50": (float, NoneType),
    "p99": (float, NoneType),
    "last_exits": (list,),
    "restarts": (dict,),
    "error": (str, NoneType),
    "workers": (list,),
}
WORKER: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "slot": (int,),
    "pid": (int,),
    "generation": (int,),
    "status": (str,),
    "uptime": (float,),
    "requests": (int,),
    "active": (int,),
    "streaming": (int,),
    "threads": (int,),
    "threads_max": (int,),
    "connections": (int,),
    "rss": (int,),
    "cpu": (float,),
}
"""The keys in their order, and what their values may be."""


def test_what_runs_streams_waits_and_may_be(start_cluster: StartCluster, tmp_path: Path) -> None:
    (tmp_path / "gated.py").write_text(APP)
    options = ("-w", "1", "--threads", "1:2")
    cluster = start_cluster("gated:app", *options, folder=tmp_path).ready()
    assert figures(cluster) == ((0, 0, 0), (0, 0, 1, 2))
    with ExitStack() as stack:
        stack.callback((tmp_path / "go").touch)
        address = cluster.address
        requests = [stack.enter_context(Request(address, "/stream"))]
        eventually(lambda: figures(cluster) == ((0, 1, 1), (1, 1, 2, 2)))
        requests += [stack.enter_context(Request(address, "/wait")) for _ in range(2)]
        eventually(lambda: figures(cluster) == ((1, 2, 1), (2, 1, 2, 2)))
        status = cluster.status()
        assert_shape(status, CLUSTER)
        assert_shape(the_worker(status), WORKER)
        cluster.process.send_signal(signal.SIGTERM)
        eventually(lambda: the_worker(cluster.status())["status"] == "retiring")
        assert figures(cluster) == ((1, 2, 1), (2, 1, 2, 2)), "also what a worker has yet to do"
        (tmp_path / "go").touch()
        assert {request.reply().text for request in requests} == {"begun went", "went"}


def figures(cluster: Cluster) -> tuple[tuple[int, ...], ...]:
    """Of the cluster: waiting, active, streaming; of its worker: active, streaming, threads."""
    status = cluster.status()
    worker = the_worker(status)
    keys = ("active", "streaming", "threads", "threads_max")
    return (
        tuple(status[key] for key in ("waiting", "active", "streaming")),
        tuple(worker[key] for key in keys),
    )


def the_worker(status: dict[str, Any]) -> dict[str, Any]:
    """The only one; its slot, which is free once it retires, is listed too."""
    (worker,) = [each for each in status["workers"] if each["id"]]
    return dict(worker)


def assert_shape(found: dict[str, Any], shape: dict[str, tuple[type, ...]]) -> None:
    """These keys in this order, and values of these types; ``type``, because True is an int."""
    assert [*found] == [*shape]
    wrong = {key: found[key] for key, kinds in shape.items() if type(found[key]) not in kinds}
    assert not wrong
