"""How requests arrive: slowly, in pieces, too large, not to the end. Nobody holds a thread."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.tools import cpu_seconds
from tests.http.wire import Wire, chunked, head
from tests.support import APPS, Cluster, StartCluster, eventually

Address = tuple[str, int]

MB = 1 << 20
BODY = random.Random(1).randbytes(3 * MB)


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster) -> Cluster:
    """One worker with one thread: whoever holds it up is noticed."""
    return start_shared("shapes:application", "-w", "1", "--threads", "1").ready()


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> Address:
    return cluster.address


@pytest.fixture(scope="module")
def impatient(start_shared: StartCluster) -> Cluster:
    """As `cluster`, with deadlines of a second."""
    arguments = ("shapes:application", "-w", "1", "--threads", "1", "--keepalive", "1")
    config = ("--gunicorn-config", str(APPS / "impatient.conf.py"))
    return start_shared(*arguments, *config, "--name", "impatient").ready()


def alive(address: Address) -> None:
    """Somebody else is answered: no thread is held."""
    with Wire(address) as wire:
        assert wire.ask("/alive", "Connection: close").text == "/alive"


def digest(body: bytes) -> str:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


# Expect: 100-continue


@pytest.mark.parametrize("size", [5, 100_000, 3 * MB])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_client_that_asks_first_is_told_to_go_on_once(
    address: Address, size: int, coding: str
) -> None:
    length = f"Content-Length: {size}" if coding == "length" else "Transfer-Encoding: chunked"
    sent = BODY[:size] if coding == "length" else chunked(BODY[:size])
    with Wire(address) as wire:
        wire.send(head("POST", "/upload", length, "Expect: 100-Continue"))
        assert wire.interim() == 100
        alive(address)
        response = wire.send(sent[:3], sent[3:]).response()
        assert response.interim == []
        assert response.text == digest(BODY[:size])
        # Neither does the next request on the connection get one that it did not ask for.
        assert wire.post("/upload", b"x").response().interim == []


@pytest.mark.parametrize("size", [0, 5, 100_000])
def test_whoever_does_not_wait_to_be_told_is_not_told(address: Address, size: int) -> None:
    with Wire(address) as wire:
        response = wire.post("/upload", BODY[:size], "Expect: 100-continue").response()
        assert response.interim == []
        assert response.text == digest(BODY[:size])


def test_http_1_0_knows_no_100(address: Address) -> None:
    request = head("POST", "/upload", "Content-Length: 5", "Expect: 100-continue", version="1.0")
    with Wire(address) as wire:
        wire.send(request)
        alive(address)
        response = wire.send(b"hello").response()
        assert response.interim == []
        assert response.text == digest(b"hello")


# Half-closed


@pytest.mark.parametrize(
    "request_",
    [
        head("GET", "/upload"),
        head("POST", "/upload", "Content-Length: 5") + b"hello",
        head("POST", "/upload", "Transfer-Encoding: chunked") + chunked(b"hello"),
        head("POST", "/upload", "Content-Length: 100000") + b"x" * 100_000,
    ],
)
def test_a_client_that_has_said_all_is_still_answered(address: Address, request_: bytes) -> None:
    with Wire(address) as wire:
        assert wire.send(request_).finish().response().status == 200
        assert wire.is_closed()
    with Wire(address) as wire:
        wire.send(request_ * 3).finish()
        assert [response.status for response in wire.responses()] == [200] * 3


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\r\n",
        b"GET / HT",
        head("GET", "/")[:-2],
        head("POST", "/upload", "Content-Length: 5") + b"hell",
        head("POST", "/upload", "Content-Length: 100000") + b"x" * 50_000,
        head("POST", "/upload", "Transfer-Encoding: chunked") + chunked(b"hello")[:-2],
        head("POST", "/upload", "Transfer-Encoding: chunked") + b"5\r\nhel",
    ],
)
def test_a_client_that_leaves_in_the_middle_is_not_answered(address: Address, part: bytes) -> None:
    for first in (b"", head("GET", "/first")):
        with Wire(address) as wire:
            assert len(wire.send(first + part).finish().responses()) == bool(first)
        with Wire(address) as wire:
            wire.send(first + part).reset()
    alive(address)


@pytest.mark.parametrize(
    "part", [b"GET / HT", head("POST", "/", "Content-Length: 5"), b"GET /\r\n\r\n" + b"x" * 9000]
)
def test_what_is_left_unread_does_not_destroy_the_response_before_it(
    address: Address, part: bytes
) -> None:
    """Closing with data unread would be a reset, which takes what was sent with it."""
    with Wire(address, receive_buffer=16 * 1024) as wire:
        wire.send(head("GET", "/big?size=3000000") + part).finish()
        alive(address)
        assert len(wire.hurry().response().body) == 3_000_000
        assert len(wire.responses()) == (part[-1:] == b"x")


# Bodies of every kind, in pieces


@pytest.mark.parametrize("pieces", [[BODY[:1]], [BODY[:7], BODY[7:1000]], [BODY], [BODY[:3]] * 9])
@pytest.mark.parametrize("extension", ["", ";a=b", ' ; name = "quo;ted"'])
@pytest.mark.parametrize("trailers", ["", "X-Sum: 1\r\nY: 2\r\n"])
def test_chunked_bodies(
    address: Address, pieces: list[bytes], extension: str, trailers: str
) -> None:
    body = chunked(*pieces, extension=extension, trailers=trailers)
    with Wire(address) as wire:
        for _ in range(2):
            wire.send(head("POST", "/upload", "Transfer-Encoding: chunked") + body)
            assert wire.response().text == digest(b"".join(pieces))


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_request_may_be_cut_anywhere(address: Address, coding: str) -> None:
    if coding == "length":
        whole = head("POST", "/upload", "Content-Length: 11") + b"hello world"
    else:
        body = chunked(b"hello", b" world", extension=";a=b", trailers="X: y\r\n")
        whole = head("POST", "/upload", "Transfer-Encoding: chunked") + body
    with Wire(address) as wire, Wire(address) as bystander:
        for cut in range(1, len(whole)):
            wire.send(whole[:cut])
            assert bystander.ask("/x").status == 200  # by now the first part was looked at
            assert wire.send(whole[cut:]).response().text == digest(b"hello world")
        assert wire.finish().is_closed()


def test_random_cuts_of_a_pipeline(address: Address) -> None:
    rng = random.Random(7)
    requests, expected = [], []
    for _ in range(60):
        body = rng.randbytes(rng.choice([0, 1, 100, 5000, 70_000, 200_000]))
        if rng.random() < 0.5:
            requests.append(head("POST", "/upload", f"Content-Length: {len(body)}") + body)
        else:
            step = rng.randint(1000, 50_000)
            pieces = [body[start : start + step] for start in range(0, len(body), step)]
            requests.append(head("POST", "/upload", "Transfer-Encoding: chunked"))
            requests.append(chunked(*pieces))
        expected.append(digest(body))
    data = b"".join(requests)
    with Wire(address) as wire:
        sender = threading.Thread(target=in_random_pieces, args=(wire, data, rng))
        sender.start()
        assert [wire.response().text for _ in expected] == expected
        sender.join()
        assert wire.finish().is_closed()


@pytest.mark.parametrize("size", [4095, 4096, 4097])
def test_a_request_behind_a_head_that_fills_the_first_look(address: Address, size: int) -> None:
    """All of a head is there, and what is behind it gives no further event."""
    fill = size - len(head("GET", "/first", "X-Fill: "))
    first = head("GET", "/first", f"X-Fill: {'x' * fill}")
    assert len(first) == size
    with Wire(address) as wire:
        assert wire.ask("/x").text == "/x"
        wire.send(first + head("GET", "/second"))
        assert [wire.response().text for _ in range(2)] == ["/first", "/second"]


def in_random_pieces(wire: Wire, data: bytes, rng: random.Random) -> None:
    while data:
        size = rng.choice([1, 10, 1000, 20_000, 100_000])
        wire.send(data[:size])
        data = data[size:]


# Slow senders


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_large_upload_from_a_slow_sender_holds_no_thread(address: Address, coding: str) -> None:
    body = BODY * 7  # 21 MB
    if coding == "length":
        request = head("POST", "/upload", f"Content-Length: {len(body)}") + body
    else:
        pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
        request = head("POST", "/upload", "Transfer-Encoding: chunked") + chunked(*pieces)
    with Wire(address) as wire:
        step = len(request) // 20
        for start in range(0, len(request), step):
            wire.send(request[start : start + step])
            alive(address)
        assert wire.response().text == digest(body)


def test_idle_and_unfinished_clients_hold_no_thread(address: Address) -> None:
    unfinished = [
        b"",
        head("GET", "/"),  # answered, and not heard of again
        b"G",
        head("GET", "/")[:-2],
        head("POST", "/upload", "Content-Length: 10"),
        head("POST", "/upload", "Content-Length: 1000000") + b"x" * 5000,
        head("POST", "/upload", "Transfer-Encoding: chunked") + b"a\r\n01234",
    ]
    wires = [Wire(address) for _ in range(20) for _ in unfinished]
    for index, wire in enumerate(wires):
        wire.send(unfinished[index % len(unfinished)])
    for _ in range(20):
        alive(address)
    for wire in wires:
        wire.close()


def test_unix_sockets_too(start_cluster: StartCluster, tmp_path: Path) -> None:
    """There the kernel cannot be asked to wait for so many bytes (SO_RCVLOWAT)."""
    path = str(tmp_path / "socket")
    cluster = start_cluster("shapes:application", "-w", "1", "--bind", f"unix:{path}").ready()
    whole = head("POST", "/upload", "Content-Length: 5") + b"hello"
    with Wire(path) as one, Wire(path) as two, Wire(path) as bystander:
        for byte in whole[:-1]:
            one.send(bytes([byte]))
            assert bystander.ask("/x").text == "/x"
        two.send(b"GET / HT")
        assert bystander.ask("/x").text == "/x"
        pid = cluster.workers()[0]["pid"]
        before = cpu_seconds(pid)
        threading.Event().wait(0.5)
        assert cpu_seconds(pid) - before < 0.2, "it waits, and does not look all the time"
        assert one.send(whole[-1:]).response().text == digest(b"hello")
        assert two.send(b"TP/1.1\r\nHost: a\r\n\r\n").response().text == "/"


# Deadlines


UNFINISHED = [
    b"G",
    b"\r\n",
    head("GET", "/")[:-2],
    head("POST", "/upload", "Content-Length: 10") + b"x",
    head("POST", "/upload", "Content-Length: 1000000") + b"x" * 5000,
    head("POST", "/upload", "Transfer-Encoding: chunked") + b"a\r\n01234",
]


def test_a_request_that_is_never_completed_gets_408(
    impatient: Cluster, subtests: pytest.Subtests
) -> None:
    """All of them wait at the same time."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(impatient.address)) for _ in UNFINISHED]
        began = time.monotonic()
        for wire, part in zip(wires, UNFINISHED, strict=True):
            wire.send(part)
        for wire, part in zip(wires, UNFINISHED, strict=True):
            with subtests.test(repr(part[:80])):
                response = wire.response()
                assert 0.9 < time.monotonic() - began < 5
                assert response.status == 408
                assert response.closes
                assert "date" in response.fields
                assert wire.is_closed()


def test_one_byte_now_and_then_does_not_stretch_the_deadline(impatient: Cluster) -> None:
    with Wire(impatient.address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nX: ")
        done = threading.Event()

        def trickle() -> None:
            while not done.wait(0.05):
                wire.send_what_it_takes(b"x")

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert wire.response().status == 408
        finally:
            done.set()
            sender.join()


@pytest.mark.parametrize("first", [b"", head("GET", "/")])
def test_an_idle_connection_is_closed_without_a_word(impatient: Cluster, first: bytes) -> None:
    with Wire(impatient.address) as wire:
        if first:
            assert wire.send(first).response().status == 200
        began = time.monotonic()
        assert wire.is_closed()
        assert 0.9 < time.monotonic() - began < 5


def test_a_client_may_be_idle_for_as_long_after_a_slow_response(impatient: Cluster) -> None:
    with Wire(impatient.address) as wire:
        assert wire.ask("/x").status == 200
        assert wire.ask("/pause?seconds=2").status == 200
        began = time.monotonic()
        assert wire.is_closed()
        assert time.monotonic() - began > 0.9


def test_a_slow_sender_has_time_as_long_as_it_sends(impatient: Cluster) -> None:
    """A megabyte a second is asked for here; this one sends more, and takes longer."""
    request = head("POST", "/upload", f"Content-Length: {len(BODY)}") + BODY
    step = len(request) // 15
    with Wire(impatient.address) as wire:
        began = time.monotonic()
        paced = threading.Event()
        for start in range(0, len(request), step):
            wire.send(request[start : start + step])
            paced.wait(0.1)
        assert time.monotonic() - began > 1.4
        assert wire.response().text == digest(BODY)


def test_a_refusal_is_not_destroyed_while_the_client_still_sends(address: Address) -> None:
    """Closing with data unread would be a reset, which takes the response with it."""
    refused: list[tuple[Callable[[], bytes], int]] = [
        (lambda: head("POST", "/", "Host:", "Content-Length: 20000000"), 400),
        (lambda: head("POST", "/", "X: " + "x" * 9000, "Content-Length: 20000000"), 431),
        (lambda: head("POST", "/" + "x" * 9000, "Content-Length: 20000000"), 414),
        (lambda: head("POST", "/", "Expect: x", "Content-Length: 20000000"), 417),
        (lambda: head("POST", "/", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    ]
    for request, status in refused:
        with Wire(address) as wire:
            wire.send(request())
            wire.send(*[BODY] * 6)
            assert wire.response().status == status
            assert wire.finish().is_closed()


def test_connections_come_and_go_without_a_trace(cluster: Cluster) -> None:
    eventually(lambda: cluster.status()["connections"] == 0)
