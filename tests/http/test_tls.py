"""TLS with gunicorn's own settings: the same answers, and no thread for who is slow at it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import random
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import gunicorn.sock
import pytest
from simple_websocket import Client, ConnectionClosed  # type: ignore[import-untyped]

from tests.http.wire import Wire, chunked, head
from tests.support import APPS, Cluster, StartCluster, eventually

MB = 1 << 20
SMALL_WINDOW = 16 * 1024
BODY = random.Random(2).randbytes(3 * MB)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate, and gunicorn's configuration that names it."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *options], cwd=folder, check=True, capture_output=True)
    settings = f"certfile = '{folder}/cert.pem'\nkeyfile = '{folder}/key.pem'\n"
    (folder / "gunicorn.conf.py").write_text(settings)
    impatient = (APPS / "impatient.conf.py").read_text()
    (folder / "impatient.conf.py").write_text(impatient + settings)
    return folder


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    """What a client needs to trust the certificate."""
    return ssl.create_default_context(cafile=str(certificate / "cert.pem"))


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster, certificate: Path) -> Cluster:
    """One worker with one thread: whoever holds it up is noticed."""
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    return start_shared("shapes:application", "-w", "1", "--threads", "1", *config).ready()


@pytest.fixture(scope="module")
def impatient(start_shared: StartCluster, certificate: Path) -> Cluster:
    """As `cluster`, with deadlines of a second."""
    config = ("--gunicorn-config", str(certificate / "impatient.conf.py"))
    options = ("-w", "1", "--threads", "1", "--keepalive", "1", "--name", "impatient")
    return start_shared("mirror:application", *options, *config).ready()


def alive(cluster: Cluster, tls: ssl.SSLContext) -> None:
    with Wire(cluster.address, tls=tls) as wire:
        assert wire.ask("/alive", "Connection: close").text == "/alive"
        assert wire.is_closed()


def digest(body: bytes) -> str:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


def test_requests_of_every_kind_on_one_connection(cluster: Cluster, tls: ssl.SSLContext) -> None:
    with Wire(cluster.address, tls=tls) as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.selected_alpn_protocol() is None
        for body in (b"", b"x", BODY[:70_000], BODY):
            assert wire.post("/upload", body).response().text == digest(body)
            wire.send(head("POST", "/upload", "Transfer-Encoding: chunked"))
            assert wire.send(chunked(*[body] * bool(body))).response().text == digest(body)
        assert len(wire.ask("/big?size=3000000").body) == 3_000_000
        assert len(wire.ask("/stream?count=30&size=100000").body) == 3_000_000
        assert wire.ask("/hints").interim == [103]


def test_the_app_knows_that_it_is_https(impatient: Cluster, tls: ssl.SSLContext) -> None:
    with Wire(impatient.address, tls=tls) as wire:
        assert '"wsgi.url_scheme": "https"' in wire.ask("/").text


def test_pipelined_requests_need_no_further_event(cluster: Cluster, tls: ssl.SSLContext) -> None:
    """They come in one TLS record: the kernel has nothing more to report."""
    with Wire(cluster.address, tls=tls) as wire:
        wire.send(b"".join(head("GET", f"/{index}") for index in range(100)))
        assert [wire.response().text for _ in range(100)] == [f"/{index}" for index in range(100)]
        body = head("POST", "/upload", "Content-Length: 100000") + BODY[:100_000]
        wire.send(body * 3)
        assert [wire.response().text for _ in range(3)] == [digest(BODY[:100_000])] * 3


def test_requests_in_pieces(cluster: Cluster, tls: ssl.SSLContext) -> None:
    whole = head("POST", "/upload", "Content-Length: 11") + b"hello world"
    with Wire(cluster.address, tls=tls) as wire:
        for cut in range(1, len(whole), 7):
            wire.send(whole[:cut])
            if cut % 3 == 0:
                alive(cluster, tls)
            assert wire.send(whole[cut:]).response().text == digest(b"hello world")
        wire.send(*[bytes([byte]) for byte in whole])
        assert wire.response().text == digest(b"hello world")


def test_a_refusal(cluster: Cluster, tls: ssl.SSLContext) -> None:
    with Wire(cluster.address, tls=tls) as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n" + head("GET", "/never"))
        response = wire.response()
        assert (response.status, response.closes) == (400, True)
        assert wire.is_closed()


@pytest.mark.parametrize("path", ["/big?size=12000000", "/stream?count=120&size=100000"])
def test_slow_readers_and_slow_senders_hold_no_thread(
    cluster: Cluster, tls: ssl.SSLContext, path: str
) -> None:
    with Wire(cluster.address, tls=tls, receive_buffer=SMALL_WINDOW) as slow:
        slow.get(path)
        alive(cluster, tls)
        assert len(slow.hurry().response().body) == 12_000_000
    with Wire(cluster.address, tls=tls) as slow:
        slow.send(head("POST", "/upload", f"Content-Length: {len(BODY)}"))
        for start in range(0, len(BODY), MB):
            slow.send(BODY[start : start + MB])
            alive(cluster, tls)
        assert slow.response().text == digest(BODY)


@pytest.mark.parametrize("path", ["/big?size=40000000", "/stream?count=400&size=100000"])
def test_what_is_more_than_is_kept_for_a_client(
    cluster: Cluster, tls: ssl.SSLContext, path: str
) -> None:
    """The thread stays, and sends as the client reads."""
    with Wire(cluster.address, tls=tls, receive_buffer=SMALL_WINDOW) as slow:
        slow.get(path)
        assert slow.line() == b"HTTP/1.1 200 OK"
        eventually(lambda: cluster.workers()[0]["active"] == 1)
    with Wire(cluster.address, tls=tls) as fast:
        assert len(fast.ask(path).body) == 40_000_000
        alive(cluster, tls)


def test_files(cluster: Cluster, tls: ssl.SSLContext, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    for length in ("", f"&length={len(BODY)}"):
        with Wire(cluster.address, tls=tls, receive_buffer=SMALL_WINDOW) as slow:
            slow.get(f"/file?path={quote(str(path))}{length}")
            alive(cluster, tls)
            assert slow.hurry().response().body == BODY
            assert slow.ask("/again").text == "/again"


def test_unfinished_handshakes_hold_no_thread(cluster: Cluster, tls: ssl.SSLContext) -> None:
    hello = client_hello(tls)
    wires = [Wire(cluster.address) for _ in range(60)]
    for index, wire in enumerate(wires):
        wire.send((b"", hello[:10], hello)[index % 3])
    for _ in range(5):
        alive(cluster, tls)
    for wire in wires:
        wire.close()


def client_hello(tls: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 600, b"\x16\x03"])
def test_what_is_not_tls_is_closed(cluster: Cluster, tls: ssl.SSLContext, words: bytes) -> None:
    with Wire(cluster.address) as wire:
        wire.send(words).finish()
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in wire.rest()
    alive(cluster, tls)


def test_clients_that_do_not_trust_us(cluster: Cluster, tls: ssl.SSLContext) -> None:
    for _ in range(5):
        with pytest.raises(ssl.SSLCertVerificationError):
            Wire(cluster.address, tls=ssl.create_default_context())
    alive(cluster, tls)


def test_deadlines(impatient: Cluster, tls: ssl.SSLContext) -> None:
    address = impatient.address
    with (
        Wire(address) as silent,
        Wire(address) as half,
        Wire(address, tls=tls) as idle,
        Wire(address, tls=tls) as unfinished,
    ):
        half.send(client_hello(tls)[:50])
        assert idle.ask("/").status == 200
        assert unfinished.send(b"GET / HT").response().status == 408
        assert unfinished.is_closed()
        assert idle.is_closed()
        assert silent.is_closed()
        assert half.is_closed()


def test_a_connection_that_cannot_travel_is_finished_in_order(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("shapes:application", "-w", "2", *config).ready()
    with Wire(cluster.address, tls=tls) as idle, Wire(cluster.address, tls=tls) as busy:
        assert idle.ask("/first").text == "/first"
        assert busy.send(head("POST", "/upload", "Content-Length: 5")[:-2]) is busy
        assert busy.send(b"\r\nhe") is busy
        before = {worker["pid"] for worker in cluster.workers()}
        assert cluster.command("reload", "shapes").returncode == 0
        assert idle.is_closed()
        response = busy.send(b"llo").response()
        assert (response.text, response.closes) == (digest(b"hello"), True)
        assert busy.is_closed()
    alive(cluster, tls)
    eventually(lambda: not before & {worker["pid"] for worker in cluster.workers()})


def test_a_worker_that_dies_never_has_a_request_run_twice(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    count = tmp_path / "count"
    cluster = start_cluster("echo:app", "-w", "2", *config, COUNT_FILE=str(count)).ready()
    with Wire(cluster.address, tls=tls) as wire:
        assert wire.ask("/clustered").status == 200
        wire.get("/die")
        with pytest.raises((ConnectionError, EOFError, ssl.SSLError)):
            wire.response()
    assert count.read_text() == "die\n"
    with Wire(cluster.address, tls=tls) as unread, socket.create_connection(cluster.address):
        for worker in cluster.workers():
            os.kill(worker["pid"], signal.SIGKILL)
        with pytest.raises((ConnectionError, EOFError, ssl.SSLError)):
            unread.ask("/clustered")


def test_a_healthy_worker_is_asked_without_tls(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("shapes:application", "-w", "1", "--health-path", "/ok", *config)
    alive(cluster.ready(), tls)


def test_what_is_used_of_gunicorn() -> None:
    assert list(inspect.signature(gunicorn.sock.ssl_context).parameters) == ["conf"]


def test_a_certificate_that_cannot_be_used(
    start_cluster: StartCluster, tmp_path: Path, certificate: Path
) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(f"certfile = keyfile = '{certificate}/nothing.pem'\n")
    cluster = start_cluster("shapes:application", "-w", "1", "--gunicorn-config", str(config))
    assert cluster.process.wait(30) == 1
    line = f"TLS cannot be set up: certfile {certificate}/nothing.pem: No such file or directory"
    assert line in cluster.log


def test_websockets(start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext) -> None:
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("views:app", "-w", "1", *config).ready()
    url = f"wss://localhost:{cluster.address[1]}/echo"
    for _ in range(5):
        client = Client(url, ssl_context=tls)
        for message in ("hello", b"bytes", "x" * 1_000_000):
            client.send(message)
            assert client.receive(timeout=20) == message
        client.send("leave")
        with pytest.raises(ConnectionClosed) as closed:
            client.receive(timeout=20)
        assert closed.value.reason == 1000
    with Wire(cluster.address, tls=tls) as wire:
        assert wire.ask("/plain").text == "plain"
    eventually(lambda: cluster.status()["connections"] == 0)


def test_a_websocket_may_take_longer_than_a_request(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    config = ("--timeout", "1", "--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("views:app", "-w", "1", *config).ready()
    client = Client(f"wss://localhost:{cluster.address[1]}/echo", ssl_context=tls)
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        client.send("still here")
        assert client.receive(timeout=20) == "still here"
        assert client.receive(timeout=0.1) is None
    client.close()


def test_an_upgrade_that_the_app_does_not_take_has_its_time(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    config = ("--timeout", "1", "--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("shapes:application", "-w", "1", *config).ready()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    with Wire(cluster.address, tls=tls) as wire:
        assert wire.ask("/pause?seconds=60", *upgrade).status == 504
        assert wire.is_closed()


def test_an_app_that_keeps_what_it_talked_on_keeps_no_thread(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    """A duplicate of it that the app has left open somewhere does not hold up the end."""
    config = ("--threads", "1", "--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("shapes:application", "-w", "1", *config).ready()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    with Wire(cluster.address, tls=tls) as wire:
        assert wire.ask("/take-over?keep", *upgrade).status == 101
        assert wire.rest() == b"bye"
    alive(cluster, tls)


def test_an_app_that_closes_the_socket_closes_no_other(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    config = ("--threads", "2", "--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    cluster = start_cluster("shapes:application", "-w", "1", "--keepalive", "1", *config).ready()
    gate = tmp_path / "gate"
    with Wire(cluster.address, tls=tls) as wire:
        wire.get(f"/close?gate={quote(str(gate))}")
        assert wire.is_closed()
        with Wire(cluster.address, tls=tls) as other:
            assert other.ask("/x").text == "/x"
            gate.touch()
            eventually(lambda: cluster.status()["connections"] == 1)
            assert other.ask("/x").text == "/x"
            assert other.is_closed()


def test_connections_come_and_go_without_a_trace(cluster: Cluster) -> None:
    eventually(lambda: cluster.status()["connections"] == 0)


def test_where_descriptors_are_few_idle_ones_make_room_and_new_ones_stay(
    start_cluster: StartCluster, certificate: Path, tls: ssl.SSLContext
) -> None:
    config = ("--gunicorn-config", str(certificate / "gunicorn.conf.py"))
    few = ("sh", "-c", 'ulimit -n 100 && exec "$@"', "sh")
    cluster = start_cluster("mirror:application", "-w", "1", *config, prefix=few).ready()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(cluster.address, tls=tls, timeout=10))]
        for _ in range(100):
            wires.append(stack.enter_context(Wire(cluster.address, tls=tls, timeout=10)))
            assert wires[-1].ask("/alive").status == 200
        assert wires[1].is_closed()
        assert wires[0].ask("/alive").status == 200, "its first request was still to come"
