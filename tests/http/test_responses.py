"""What becomes of an app's answers: framing, files, failures, clients that read slowly."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.http.wire import Response, Wire, head
from tests.support import APPS, Cluster, StartCluster, eventually

Address = tuple[str, int]

MB = 1 << 20
SMALL_WINDOW = 16 * 1024


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster) -> Cluster:
    """One worker with one thread: whoever holds it up is noticed."""
    return start_shared("shapes:application", "-w", "1", "--threads", "1").ready()


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> Address:
    return cluster.address


@pytest.fixture(scope="module")
def flask(start_shared: StartCluster) -> Address:
    return start_shared("views:app", "-w", "1", "--threads", "1").ready().address


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "big"
    path.write_bytes(random.Random(5).randbytes(MB) * 50)
    return path


def closed(address: Address) -> list[str]:
    """The paths whose iterables were closed so far."""
    with Wire(address) as wire:
        paths: list[str] = json.loads(wire.ask("/told", "Connection: close").body)
        return paths


def ask(address: Address, path: str, *fields: str, method: str = "GET") -> Response:
    """One request; nothing may come behind its response."""
    with Wire(address) as wire:
        response = wire.ask(path, *fields, method=method)
        assert wire.finish().is_closed()
        return response


def twice(address: Address, path: str, *fields: str, method: str = "GET") -> Response:
    """The connection can be used again after the response."""
    with Wire(address) as wire:
        first = wire.ask(path, *fields, method=method)
        assert not first.closes
        assert wire.ask("/plain").text.endswith("plain")
        return first


# Framing


def test_a_known_length(address: Address) -> None:
    response = twice(address, "/hello")
    assert response.fields["content-length"] == "6"
    assert response.fields["connection"] == "keep-alive"
    assert {"server", "date"} <= response.fields.keys()


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (10, 1000), (3, 2 * MB)])
def test_chunked(address: Address, count: int, size: int) -> None:
    response = twice(address, f"/stream?count={count}&size={size}")
    assert response.fields["transfer-encoding"] == "chunked"
    assert response.body == b"".join(bytes([97 + index]) * size for index in range(count))


def test_an_empty_response(address: Address) -> None:
    assert twice(address, "/nothing").body == b""


@pytest.mark.parametrize("path", ["/hello", "/stream?count=3&size=9", "/big?size=100000"])
def test_head_has_no_body(address: Address, path: str) -> None:
    response = twice(address, path, method="HEAD")
    assert response.status == 200
    assert response.body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(address: Address, status: int) -> None:
    response = twice(address, f"/status?status={status}")
    assert response.status == status
    assert ("content-length" in response.fields) == (status == 304)


def test_http_1_0(address: Address) -> None:
    with Wire(address) as wire:
        response = wire.send(head("GET", "/hello", version="1.0")).response()
        assert (response.version, response.closes) == ("HTTP/1.0", True)
        assert wire.is_closed()
    with Wire(address) as wire:
        kept = head("GET", "/hello", "Connection: keep-alive", version="1.0")
        for _ in range(2):
            assert not wire.send(kept).response().closes
        # Without a length only the end of the connection tells the end of the body.
        stream = head("GET", "/stream?count=3&size=9", "Connection: keep-alive", version="1.0")
        response = wire.send(stream).response()
        assert "transfer-encoding" not in response.fields
        assert response.closes
        assert response.body == b"a" * 9 + b"b" * 9 + b"c" * 9


def test_an_app_may_close_the_connection(address: Address) -> None:
    with Wire(address) as wire:
        response = wire.get("/until-close").get("/never").response()
        assert response.closes
        assert response.body == b"that is all"
        assert wire.is_closed()


def test_the_write_callable(address: Address) -> None:
    assert twice(address, "/write").body == b"onetwosix"
    assert twice(address, "/write-chunks").body == b"onetwosix"


def test_early_hints(address: Address) -> None:
    with Wire(address) as wire:
        first = wire.get("/hints").line()
        assert first == b"HTTP/1.1 103 Early Hints"
        assert wire.line() == b"Link: </style.css>; rel=preload"
        assert wire.line() == b""
        assert wire.response().text == "/hints"
        assert wire.ask("/again").text == "/again"


# Apps that do not keep to what they said


def test_less_than_announced_closes_the_connection(address: Address) -> None:
    with Wire(address) as wire:
        wire.get("/short").get("/never")
        with pytest.raises(EOFError):
            wire.response()
    assert "/short" in closed(address)


def test_more_than_announced_is_cut_off(address: Address) -> None:
    assert twice(address, "/long").body == b"12345"
    assert "/long" in closed(address)


@pytest.mark.parametrize("field", ["Accept: */*", "Content-Length: 0"])
def test_an_app_that_closes_the_socket_closes_no_other(
    start_cluster: StartCluster, tmp_path: Path, field: str
) -> None:
    """Its descriptor would be the next connection's, which would end in its place."""
    arguments = ("shapes:application", "-w", "1", "--threads", "2", "--keepalive", "1")
    cluster = start_cluster(*arguments).ready()
    before = cluster.workers()
    gate = tmp_path / "gate"
    with Wire(cluster.address) as wire:
        wire.get(f"/close?gate={quote(str(gate))}", field)
        assert wire.is_closed()
        with Wire(cluster.address) as other:
            assert other.ask("/x").text == "/x"
            gate.touch()
            eventually(lambda: cluster.status()["connections"] == 1)
            assert other.ask("/x").text == "/x"
            assert other.is_closed()
    assert [worker["id"] for worker in cluster.workers()] == [worker["id"] for worker in before]


# Apps that fail


@pytest.mark.parametrize("path", ["/fail", "/exit", "/cancelled", "/reset", "/fail-early"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("field", ["Accept: */*", "Content-Length: 0"])
def test_a_failure_before_the_first_byte_is_a_500(
    address: Address, path: str, method: str, field: str
) -> None:
    for _ in range(3):  # the only thread survives it, with the hot path and without
        response = ask(address, path, field, method=method)
        assert response.status == 500
        assert response.closes


@pytest.mark.parametrize("path", ["/fail-late", "/fail-late?length", "/too-late"])
def test_a_failure_in_the_middle_cuts_the_connection(address: Address, path: str) -> None:
    """So that what is there cannot be taken for the whole response."""
    with Wire(address) as wire:
        assert wire.get(path).line() == b"HTTP/1.1 200 OK"
        assert wire.is_cut()
    assert path.partition("?")[0] in closed(address)


@pytest.mark.parametrize("field", ["Accept: */*", "Content-Length: 0"])
@pytest.mark.parametrize("size", [5, 12_000_000])
def test_a_failure_behind_the_last_byte_costs_the_connection_only(
    address: Address, size: int, field: str
) -> None:
    """The response is whole, and nothing comes behind it; with the hot path and without."""
    with Wire(address, receive_buffer=SMALL_WINDOW) as slow:
        slow.get(f"/fail-behind?size={size}", field)
        assert ask(address, "/meanwhile").text == "/meanwhile"
        response = slow.get("/never").hurry().response()
        assert (response.status, len(response.body)) == (200, size)
        assert slow.is_closed()
    assert "/fail-behind" in closed(address)


def test_a_second_head_replaces_the_first_while_nothing_is_sent(address: Address) -> None:
    response = twice(address, "/second-thoughts")
    assert (response.status, response.body) == (503, b"later")
    assert "x-second" in response.fields
    assert "x-first" not in response.fields


def test_an_iterable_is_closed_when_its_client_leaves(start_cluster: StartCluster) -> None:
    address = start_cluster("shapes:application", "-w", "1", "--threads", "2").ready().address
    for so_far, leave in enumerate((Wire.close, Wire.reset)):
        with Wire(address) as wire:
            assert wire.get("/endless").line() == b"HTTP/1.1 200 OK"
            assert closed(address) == ["/endless"] * so_far
            leave(wire)
        eventually(lambda: closed(address) == ["/endless"] * (so_far + 1))  # noqa: B023


# Clients that read slowly


@pytest.mark.parametrize("path", ["/big?size=12000000", "/stream?count=120&size=100000"])
def test_a_slow_reader_of_a_large_response_holds_no_thread(address: Address, path: str) -> None:
    with Wire(address, receive_buffer=SMALL_WINDOW) as slow:
        assert slow.get(path).line() == b"HTTP/1.1 200 OK"
        for _ in range(10):
            assert ask(address, "/meanwhile").text == "/meanwhile"
            slow.read(100_000)
    with Wire(address, receive_buffer=SMALL_WINDOW) as slow:
        slow.get(path)
        assert ask(address, "/meanwhile").text == "/meanwhile"
        body = slow.hurry().response().body
        assert len(body) == 12_000_000
        assert slow.ask("/again").text == "/again"
        if path.startswith("/stream"):
            letters = (bytes([97 + index % 26]) for index in range(120))
            expected = hashlib.sha256(b"".join(letter * 100_000 for letter in letters))
            assert hashlib.sha256(body).digest() == expected.digest()


def test_many_slow_readers_at_once(address: Address) -> None:
    wires = [Wire(address, receive_buffer=SMALL_WINDOW) for _ in range(40)]
    for wire in wires:
        wire.get("/stream?count=15&size=100000")
    assert ask(address, "/meanwhile").text == "/meanwhile"
    for wire in wires:
        assert len(wire.hurry().response().body) == 1_500_000
        wire.close()


def test_a_reader_that_has_stopped_is_cut(start_cluster: StartCluster) -> None:
    """What waits for it is not kept for ever. The cut tells it that there was more."""
    arguments = ("shapes:application", "-w", "1", "--threads", "1", "--gunicorn-config")
    cluster = start_cluster(*arguments, str(APPS / "impatient.conf.py")).ready()
    for path in ("/big?size=12000000", "/stream?count=120&size=100000"):
        with Wire(cluster.address, receive_buffer=SMALL_WINDOW) as stopped:
            assert stopped.get(path).line() == b"HTTP/1.1 200 OK"
            assert ask(cluster.address, "/meanwhile").text == "/meanwhile"
            eventually(lambda: cluster.status()["connections"] == 0)
            assert stopped.is_cut()


# Files


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("length", [None, 50 * MB, 1234])
def test_a_file_to_a_slow_reader(
    address: Address, big_file: Path, version: str, length: int | None
) -> None:
    announced = "" if length is None else f"&length={length}"
    path = f"/file?path={quote(str(big_file))}{announced}"
    with Wire(address, receive_buffer=SMALL_WINDOW) as slow:
        slow.send(head("GET", path, "Connection: keep-alive", version=version))
        assert ask(address, "/meanwhile").text == "/meanwhile"
        response = slow.hurry().response()
        assert response.body == big_file.read_bytes()[:length]
        if length or version == "1.1":
            assert slow.ask("/again").text == "/again"


def test_a_file_from_where_it_stands(address: Address, big_file: Path) -> None:
    size = 50 * MB - 1000
    response = twice(address, f"/file?path={quote(str(big_file))}&skip={size}")
    assert response.body == big_file.read_bytes()[size:]


def test_head_of_a_file(address: Address, big_file: Path) -> None:
    path = f"/file?path={quote(str(big_file))}&length={50 * MB}"
    assert twice(address, path, method="HEAD").fields["content-length"] == str(50 * MB)


def test_an_empty_file(address: Address, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    path = quote(str(tmp_path / "empty"))
    assert twice(address, f"/file?path={path}").body == b""
    assert twice(address, f"/file?path={path}&length=0").body == b""


def test_a_file_that_is_shorter_than_announced(address: Address, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"12345")
    with Wire(address) as wire:
        wire.get(f"/file?path={quote(str(tmp_path / 'short'))}&length=10").get("/never")
        with pytest.raises(EOFError):
            wire.response()


def test_a_file_that_shrinks_while_it_is_sent(address: Address, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(b"x" * 50 * MB)
    with Wire(address, receive_buffer=SMALL_WINDOW) as slow:
        line = slow.get(f"/file?path={quote(str(path))}&length={50 * MB}").line()
        assert line == b"HTTP/1.1 200 OK"
        path.write_bytes(b"")
        assert slow.is_cut()
    assert ask(address, "/meanwhile").text == "/meanwhile"


def test_flask_sends_files_and_parts_of_them(flask: Address, big_file: Path) -> None:
    path = f"/file?path={quote(str(big_file))}"
    content = big_file.read_bytes()
    assert twice(flask, path, method="HEAD").fields["content-length"] == str(50 * MB)
    part = ask(flask, path, "Range: bytes=1000000-1999999")
    assert part.status == 206
    assert part.fields["content-range"] == f"bytes 1000000-1999999/{50 * MB}"
    assert part.body == content[1_000_000:2_000_000]
    with Wire(flask, receive_buffer=SMALL_WINDOW) as slow:
        slow.get(path)
        assert ask(flask, "/plain").text == "plain"
        response = slow.hurry().response()
        assert response.body == content
        assert slow.ask(path, f"If-None-Match: {response.fields['etag']}").status == 304
        assert slow.ask("/plain").text == "plain"


def test_flask_refuses_what_is_too_large(flask: Address) -> None:
    body = b"x" * (3 * MB)
    with Wire(flask) as wire:
        assert wire.post("/length", body).response().status == 413
    assert ask(flask, "/plain").text == "plain"


def test_connections_come_and_go_without_a_trace(cluster: Cluster) -> None:
    eventually(lambda: cluster.status()["connections"] == 0)
