"""Behind a proxy: whose address an app sees, and whether it was https."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tools import control
from tests.http.wire import Wire, head
from tests.support import Cluster, StartCluster, eventually

V1 = b"PROXY TCP4 9.9.9.9 1.1.1.1 80 8080\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([9, 9, 9, 9, 1, 1, 1, 1]) + b"\0\x50\x1f\x90"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

CONFIG = """
proxy_protocol = True
accesslog = "-"
access_log_format = "%(h)s %(U)s"
"""

APP = """
import json, os, time

def app(environ, start_response):
    size = len(environ["wsgi.input"].read())
    if environ["QUERY_STRING"]:
        time.sleep(float(environ["QUERY_STRING"]))
    names = "REMOTE_ADDR", "REMOTE_PORT", "PROXY_ADDR", "wsgi.url_scheme"
    seen = {name: environ.get(name) for name in names}
    body = json.dumps({**seen, "pid": os.getpid(), "size": size}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


BINDS = ("--bind", "127.0.0.1:0", "--bind", "unix:web.sock")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an app that says what it sees of its client."""
    folder = tmp_path_factory.mktemp("behind")
    (folder / "sees.py").write_text(APP)
    (folder / "proxied.conf.py").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster, behind: Path) -> Cluster:
    options = ("--gunicorn-config", "proxied.conf.py", "--health-path", "/health")
    return start_shared("sees:app", "-w", "2", *options, *BINDS, folder=behind).ready()


def seen(wire: Wire, path: str = "/", first: bytes = b"") -> dict[str, Any]:
    response = wire.send(first + head("GET", path)).response()
    assert response.status == 200, response
    found: dict[str, Any] = json.loads(response.body)
    return found


def is_told(what: dict[str, Any]) -> bool:
    return (what["REMOTE_ADDR"], what["REMOTE_PORT"], what["PROXY_ADDR"]) == (
        *("9.9.9.9", "80"),
        "1.1.1.1",
    )


def end(cluster: Cluster, pid: int, how: signal.Signals) -> None:
    """End a worker, and wait until others have taken its place."""
    os.kill(pid, how)
    eventually(lambda: all(worker["pid"] != pid for worker in cluster.status()["workers"]))
    eventually(lambda: len(cluster.workers()) == 2)


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_what_a_proxy_has_said_holds_for_the_connection_wherever_it_goes(
    cluster: Cluster, header: bytes
) -> None:
    with Wire(cluster.address) as wire:
        first = seen(wire, first=header)
        assert is_told(first)
        assert is_told(seen(wire))
        end(cluster, first["pid"], signal.SIGKILL)
        second = seen(wire)
        assert is_told(second)
        end(cluster, second["pid"], signal.SIGTERM)
        assert is_told(seen(wire))
        control(cluster, "reload")
        assert is_told(seen(wire))
        wire.post("/", b"x" * 100_000)
        assert json.loads(wire.response().body)["size"] == 100_000
        assert is_told(seen(wire, "/told"))
    eventually(lambda: "9.9.9.9 /told\n" in cluster.log)
    assert "127.0.0.1 /told\n" not in cluster.log, "the access log says the same"


def test_a_request_that_runs_again_has_its_header_read_again(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        wire.send(V1 + head("GET", "/?1"))
        busy = eventually(lambda: [w["pid"] for w in cluster.workers() if w["active"]])
        end(cluster, busy[0], signal.SIGKILL)
        again = json.loads(wire.response().body)
        assert is_told(again)
        assert again["pid"] != busy[0]
        assert is_told(seen(wire))


def test_a_first_request_that_is_pulled_in(cluster: Cluster) -> None:
    body = b"x" * 100_000
    with Wire(cluster.address) as wire:
        wire.send(V1 + head("POST", "/", f"Content-Length: {len(body)}") + body)
        assert is_told(json.loads(wire.response().body))
        end(cluster, seen(wire)["pid"], signal.SIGTERM)
        assert is_told(seen(wire))


def test_on_a_unix_socket_it_travels_too(cluster: Cluster, behind: Path) -> None:
    with Wire(str(behind / "web.sock")) as wire:
        first = seen(wire, first=V2)
        assert is_told(first)
        end(cluster, first["pid"], signal.SIGTERM)
        second = seen(wire)
        assert is_told(second)
        # The kernel keeps no books here: who dies before it has noted the end costs the connection.
        eventually(lambda: not any(worker["active"] for worker in cluster.workers()))
        end(cluster, second["pid"], signal.SIGKILL)
        assert is_told(seen(wire))


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN ::1 ::2 x\r\n", LOCAL], ids=["v1", "v2"])
def test_a_header_that_tells_of_no_client(cluster: Cluster, header: bytes) -> None:
    with Wire(cluster.address) as wire:
        port = str(wire.sock.getsockname()[1])
        for first in (header, b""):
            what = seen(wire, first=first)
            assert (what["REMOTE_ADDR"], what["REMOTE_PORT"]) == ("127.0.0.1", port)
        end(cluster, what["pid"], signal.SIGTERM)
        assert seen(wire)["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize(
    "header",
    [b"", b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200, LOCAL[:12] + b"\x30\0\0\0", V2[:-9]],
    ids=["none", "malformed", "endless", "version 3", "in the midst"],
)
def test_what_is_no_header_is_a_bad_request(cluster: Cluster, header: bytes) -> None:
    with Wire(cluster.address) as wire:
        response = wire.send(header + head("GET", "/")).response()
        assert response.status == 400
        assert response.closes
        assert wire.finish().is_closed()
    assert "Traceback" not in cluster.log


def test_the_scheme_that_a_proxy_tells_is_believed_on_a_unix_socket_too(
    start_cluster: StartCluster, behind: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "web.sock")
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    cluster = start_cluster("sees:app", "-w", "1", *binds, folder=behind).ready()
    for address in (cluster.address, path):
        with Wire(address) as wire:
            for told in ("https", "http"):
                response = wire.ask("/", f"X-Forwarded-Proto: {told}")
                assert json.loads(response.body)["wsgi.url_scheme"] == told
