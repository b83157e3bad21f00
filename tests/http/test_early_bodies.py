"""The app begins before the body is there: it can refuse, and reads what it wants as it comes."""

from __future__ import annotations

import random
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from launcher.worker.request.uploads import EARLY, places
from tests.http.wire import Wire, chunked, head
from tests.support import Cluster, StartCluster, eventually

MB = 1 << 20
BODY = random.Random(4).randbytes(3 * MB)
LIMIT = 400 * MB
LARGE = "Content-Length: 300000000"
EXPECT = "Expect: 100-continue"
THREADS = 8

Connect = Callable[[], Wire]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate, configurations of gunicorn, and the socket."""
    folder = tmp_path_factory.mktemp("bodies")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *options], cwd=folder, check=True, capture_output=True)
    (folder / "tls.conf.py").write_text(f"certfile='{folder}/cert.pem'\nkeyfile='{folder}/key.pem'")
    (folder / "curt.conf.py").write_text(
        "from launcher.policy.serving.patience import Patience\n"
        "from launcher.worker.serving.service import Service\n"
        "Service.patience = Patience(silence=0.5)\n"
    )
    return folder


def started(start: StartCluster, name: str, *options: str) -> Cluster:
    limits = ("--threads", f"{THREADS}", "--limit-request-body", f"{LIMIT}")
    return start("uploads:application", "-w", "1", "-n", name, *limits, *options).ready()


@pytest.fixture(scope="module")
def plain(start_shared: StartCluster, folder: Path) -> Cluster:
    """On TCP and on a unix socket."""
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{folder}/socket")
    return started(start_shared, "plain", *binds)


@pytest.fixture(scope="module")
def secure(start_shared: StartCluster, folder: Path) -> Cluster:
    return started(start_shared, "tls", "--gunicorn-config", f"{folder}/tls.conf.py")


@pytest.fixture(scope="module")
def curt(start_shared: StartCluster, folder: Path) -> Cluster:
    """Where half a second of silence is too much."""
    return started(start_shared, "curt", "--gunicorn-config", f"{folder}/curt.conf.py")


@pytest.fixture(scope="module")
def alone(start_shared: StartCluster) -> Cluster:
    """Where the worker accepts for itself."""
    return started(start_shared, "alone", "--policy", "kernel")


@pytest.fixture(params=["tcp", "unix", "tls", "kernel"])
def connect(request: pytest.FixtureRequest, folder: Path) -> Iterator[Connect]:
    """Connects over each kind of socket. No place for an upload stays taken afterwards."""
    which = {"tls": "secure", "kernel": "alone"}.get(request.param, "plain")
    cluster: Cluster = request.getfixturevalue(which)
    address = f"{folder}/socket" if request.param == "unix" else cluster.address
    context = None
    if request.param == "tls":
        context = ssl.create_default_context(cafile=f"{folder}/cert.pem")
    yield lambda: Wire(address, tls=context)
    eventually(lambda: not any(worker["active"] for worker in cluster.workers()))


def digest(body: bytes) -> str:
    return f"{len(body)} {sha256(body).hexdigest()}"


def framed(coding: str, body: bytes) -> tuple[str, bytes]:
    if coding == "length":
        return f"Content-Length: {len(body)}", body
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    return "Transfer-Encoding: chunked", chunked(*pieces, trailers="X: y\r\n")


CODINGS = pytest.mark.parametrize("coding", ["length", "chunked"])


# Refused before it is there


@pytest.mark.parametrize("fields", [(), (EXPECT,)])
@pytest.mark.parametrize(
    ("path", "status"), [("/flask/form", 413), ("/flask/login", 401), ("/refuse", 401)]
)
def test_an_app_refuses_at_once(
    connect: Connect, path: str, status: int, fields: tuple[str, ...]
) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    with connect() as wire:
        response = wire.send(head("POST", path, LARGE, form, *fields)).response()
        assert (response.status, response.interim, response.closes) == (status, [], True)


@pytest.mark.parametrize("times", [1, 1_000_000])
def test_a_client_that_goes_on_sending_gets_to_read_it(connect: Connect, times: int) -> None:
    """Also when the answer is larger than all buffers, and the client reads nothing meanwhile."""
    with connect() as wire:
        wire.send(head("POST", f"/refuse?{times}", LARGE))
        for _ in range(20):
            wire.send(BODY)
        response = wire.response()
        assert (response.status, response.body) == (401, b"who are you?" * times)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
@pytest.mark.parametrize("fields", [(), (EXPECT,)])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_is_over_the_limit_is_refused_by_its_head_alone(
    connect: Connect, method: str, fields: tuple[str, ...], version: str
) -> None:
    size = f"Content-Length: {LIMIT + 1}"
    with connect() as wire:
        response = wire.send(head(method, "/digest", size, *fields, version=version)).response()
        assert (response.status, response.closes) == (413, True)
        assert "date" in response.fields


def test_the_app_begins_only_for_large_bodies_or_where_it_is_asked(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    cluster = start_cluster("uploads:application", "-w", "1", COUNT_FILE=str(count)).ready()
    with (
        Wire(cluster.address) as wire,
        Wire(cluster.address) as small,
        Wire(cluster.address) as one,
    ):
        small.send(head("POST", "/digest?small", f"Content-Length: {EARLY}") + BODY[:1000])
        wire.send(head("POST", "/digest?large", f"Content-Length: {EARLY + 1}"))
        eventually(lambda: count.read_text() == "begun large\n")
        one.send(head("POST", "/digest?asks", "Content-Length: 1", EXPECT))
        assert one.interim() == 100
        assert count.read_text() == "begun large\nbegun asks\n"
        wire.send(BODY[: EARLY + 1])
        assert wire.response().text == digest(BODY[: EARLY + 1])
        small.send(BODY[1000:EARLY])
        assert small.response().text == digest(BODY[:EARLY])


def test_an_unknown_length_that_grows(start_cluster: StartCluster, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.touch()
    cluster = start_cluster("uploads:application", "-w", "1", COUNT_FILE=str(count)).ready()
    with Wire(cluster.address) as wire, Wire(cluster.address) as other:
        wire.send(head("POST", "/digest", "Transfer-Encoding: chunked"))
        wire.send(b"%x\r\n" % len(BODY) + BODY[:1_000_000])
        assert other.ask("/x").text == "/x"
        assert not count.read_text()
        wire.send(BODY[1_000_000:1_200_000])
        eventually(lambda: count.read_text() == "begun \n")
        wire.send(BODY[1_200_000:] + b"\r\n0\r\n\r\n")
        assert wire.response().text == digest(BODY)


def test_chunks_that_add_up_to_more_than_the_limit(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    """Read by the worker, or by an app that makes a 500 of it or says that all is well."""
    count = tmp_path / "count"
    options = ("-w", "1", "--limit-request-body", "3M")
    cluster = start_cluster("uploads:application", *options, COUNT_FILE=str(count)).ready()
    whole = chunked(*[BODY[:100_000]] * 9)[: -len("0\r\n\r\n")]
    for path in ("/digest", "/swallow", "/flask/data"):
        with Wire(cluster.address) as wire:
            wire.send(head("POST", path, "Transfer-Encoding: chunked"))
            for _ in range(3):
                wire.send(whole)
            wire.send(b"%x\r\n" % (10**6))
            response = wire.response()
            assert (response.status, response.closes) == (413, True)
        with Wire(cluster.address) as wire:
            wire.send(head("POST", path, "Transfer-Encoding: chunked") + b"300001\r\n")
            assert wire.response().status == 413
    assert "TooLarge True\n" in count.read_text(), "as an OSError, which frameworks expect"


def test_without_a_limit_anything_may_come(start_cluster: StartCluster) -> None:
    options = ("-w", "1", "--limit-request-body", "0")
    cluster = start_cluster("uploads:application", *options).ready()
    with Wire(cluster.address) as wire:
        wire.send(head("POST", "/refuse", f"Content-Length: {10**15}"))
        assert wire.response().status == 401


# Read as it comes


@CODINGS
@pytest.mark.parametrize("fields", [(), (EXPECT,)])
def test_large_bodies_and_what_is_behind_them(
    connect: Connect, coding: str, fields: tuple[str, ...]
) -> None:
    field, sent = framed(coding, BODY)
    with connect() as wire:
        for _ in range(2):
            wire.send(head("POST", "/digest", field, *fields))
            if fields and coding == "length":
                assert wire.interim() == 100
            wire.send(sent[:1000], sent[1000:] + head("GET", "/behind"))
            response = wire.response()
            assert response.text == digest(BODY)
            assert response.interim in ([], [100])
            assert wire.response().text == "/behind"


@CODINGS
def test_the_whole_interface_of_a_file(connect: Connect, coding: str) -> None:
    lines = b"abcdefghi\nABCDEF\nline\nmore\nlast"
    field, sent = framed(coding, lines)
    told = '["", "abc", "defg", "hi\\n", "ABC", "DE", "F\\n", "line\\n", "more\\n", "last"]'
    with connect() as wire:
        wire.send(head("POST", "/interface", field, EXPECT))
        assert wire.interim() == 100
        assert wire.send(sent).response().text == told
        wire.send(head("POST", "/interface", field) + sent)
        assert wire.response().text == told, "as of a body that was there"
        field, sent = framed(coding, BODY)
        count = BODY.count(b"\n") + (not BODY.endswith(b"\n"))
        assert wire.send(head("POST", "/lines", field) + sent).response().text == f"{count}"
        assert wire.send(head("POST", "/everything", field) + sent).response().text == f"{3 * MB}"


def test_http_1_0(connect: Connect) -> None:
    field, sent = framed("length", BODY)
    with connect() as wire:
        wire.send(head("POST", "/digest", field, EXPECT, version="1.0"))
        response = wire.send(sent).response()
        assert response.text == digest(BODY)
        assert response.interim == []
        assert wire.is_closed()


def test_each_piece_back_before_the_next_is_sent(connect: Connect) -> None:
    """The response begins before the body has come: it cannot say that it is not the last."""
    with connect() as wire:
        wire.send(head("POST", "/duplex?3", f"Content-Length: {EARLY + 2}") + b"abc")
        status = wire.line()
        assert status.startswith(b"HTTP/1.1 200")
        fields = list(iter(wire.line, b""))
        assert b"Connection: close" in fields
        for piece in (b"abc", b"def", b"ghi"):
            if piece != b"abc":
                wire.send(piece)
            assert (wire.line(), wire.read(3), wire.line()) == (b"3", piece.upper(), b"")


# What the app leaves unread


@pytest.mark.parametrize("left", [1, 50_000])
@CODINGS
def test_a_little_that_is_left_costs_no_connection(
    connect: Connect, coding: str, left: int, tmp_path: Path
) -> None:
    body, gate = BODY[: 2 * MB], tmp_path / "gate"
    field, sent = framed(coding, body)
    with connect() as wire:
        wire.send(head("POST", f"/some?{len(body) - left}&{gate}", field) + sent)
        gate.touch()  # all of it is in the kernel
        response = wire.response()
        assert (response.text, response.closes) == (f"{len(body) - left}", False)
        assert wire.ask("/behind").text == "/behind"


@CODINGS
def test_much_that_is_left_ends_the_connection_in_order(connect: Connect, coding: str) -> None:
    """What is behind it is never taken for a request, and the response is not destroyed."""
    field, sent = framed(coding, BODY * 5)
    with connect() as wire:
        wire.send(head("POST", "/refuse", field) + sent + head("GET", "/behind"))
        response = wire.response()
        assert (response.text, response.closes) == ("who are you?", True)
        if not isinstance(wire.sock, ssl.SSLSocket):  # which cannot be shut down in one direction
            assert wire.finish().is_closed()


# Clients that do not send it all


@CODINGS
@pytest.mark.parametrize("path", ["/digest", "/swallow", "/flask/data"])
def test_a_client_that_leaves_is_not_answered(connect: Connect, coding: str, path: str) -> None:
    field, sent = framed(coding, BODY)
    request = head("POST", path, field) + sent[:-1]
    with connect() as wire:
        wire.send(request).reset()
    with connect() as wire:
        if not isinstance(wire.sock, ssl.SSLSocket):
            assert wire.send(request).finish().responses() == []


def test_it_is_no_fault_of_the_server(plain: Cluster, secure: Cluster, alone: Cluster) -> None:
    """Flask logs what it has caught; the launcher has nothing to add."""
    for cluster in (plain, secure, alone):
        assert "Error handling request" not in cluster.log
        assert "Error serving" not in cluster.log


@CODINGS
def test_silence_gets_408_and_gives_the_thread_back(curt: Cluster, coding: str) -> None:
    """Whatever the app makes of it: a 500, or that all is well."""
    field, sent = framed(coding, BODY)
    for path in ("/digest", "/swallow", "/flask/data"):
        with Wire(curt.address) as wire:
            began = time.monotonic()
            response = wire.send(head("POST", path, field) + sent[: 2 * MB]).response()
            assert 0.5 < time.monotonic() - began < 10
            assert (response.status, response.closes) == (408, True)
            assert wire.is_closed()
    eventually(lambda: not curt.workers()[0]["active"])


def test_a_small_body_that_stalls_has_no_more_time(curt: Cluster) -> None:
    """However much came before: 60 KB would otherwise buy two minutes."""
    unfinished = [
        head("POST", "/digest", "Content-Length: 60000") + BODY[:59_999],
        head("POST", "/digest", "Content-Length: 900000") + BODY[:899_999],
        head("POST", "/digest", "Transfer-Encoding: chunked") + b"fffff\r\n" + BODY[:900_000],
    ]
    began = time.monotonic()
    wires = [Wire(curt.address).send(request) for request in unfinished]
    for wire in wires:
        assert wire.response().status == 408
        wire.close()
    assert time.monotonic() - began < 10


def test_a_small_body_that_goes_on_has_time(curt: Cluster) -> None:
    with Wire(curt.address) as wire:
        wire.send(head("POST", "/digest", "Content-Length: 8"))
        for byte in BODY[:8]:
            threading.Event().wait(0.2)  # in all, longer than silence may last
            wire.send(bytes([byte]))
        assert wire.response().text == digest(BODY[:8])


def test_a_slow_upload_is_no_stuck_request(start_cluster: StartCluster) -> None:
    """--timeout is for the app: what the client takes is not its fault."""
    cluster = start_cluster("uploads:application", "-w", "1", "--timeout", "1").ready()
    with Wire(cluster.address) as wire:
        wire.send(head("POST", "/digest", f"Content-Length: {len(BODY)}"))
        for start in range(0, len(BODY), MB):
            threading.Event().wait(0.8)
            wire.send(BODY[start : start + MB])
        assert wire.response().text == digest(BODY)
    assert cluster.status()["restarts"]["timeout"] == 0


def test_uploads_leave_threads_for_others(start_cluster: StartCluster) -> None:
    """Those that find no place arrive without a thread, and are answered when they are there."""
    cluster = start_cluster("uploads:application", "-w", "1", "--threads", f"{THREADS}").ready()
    field, sent = framed("length", BODY)
    wires = [Wire(cluster.address) for _ in range(THREADS * 2)]
    for wire in wires:
        wire.send(head("POST", "/digest", field) + sent[: 2 * MB])
    eventually(lambda: cluster.workers()[0]["active"] == places(THREADS))
    with Wire(cluster.address) as other:
        assert other.ask("/x").text == "/x"
        other.send(head("POST", "/digest", field) + sent)
        assert other.response().text == digest(BODY), "an honest one goes on meanwhile"
    for wire in reversed(wires):
        assert wire.send(sent[2 * MB :]).response().text == digest(BODY)
        wire.close()
