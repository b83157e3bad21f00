"""The parsing that needs no socket: what is refused beyond gunicorn, where a body ends."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import (
    InvalidHeader,
    InvalidRequestLine,
    InvalidRequestMethod,
    LimitRequestHeaders,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)

from launcher.worker.request.body import Incoming
from launcher.worker.request.chunks import ChunkScanner
from launcher.worker.request.parsing import (
    MOST_HEAD,
    Arrived,
    Framing,
    NeedMore,
    may_be_complete,
    parse,
)
from launcher.worker.request.uploads import Uploads
from tests.http.wire import chunked, head

CFG = Config()  # type: ignore[no-untyped-call]
PEER = ("127.0.0.1", 1234)


def parsed(data: bytes, complete: bool = False) -> Arrived:
    return parse(data, complete, CFG, PEER, 1)


def host_of(data: bytes) -> Any:
    return dict(parsed(data).request.headers)["HOST"]


# Beyond gunicorn


@pytest.mark.parametrize(
    "host",
    ["a", "a.example", "a:80", "a:", "127.0.0.1:8000", "[::1]", "[::1]:80", "a_b", "%61", "xn--a"],
)
def test_a_good_host(host: str) -> None:
    assert host_of(head("GET", "/", f"Host: {host}")) == host


@pytest.mark.parametrize(
    "host",
    ["", ":80", "a b", "a/b", "a@b", "http://a", "a:b", "a:80:80", "a\\b", "a,b c", "[::1", "\xe9"],
)
def test_a_bad_host(host: str) -> None:
    with pytest.raises(InvalidHeader):
        parsed(head("GET", "/", f"Host: {host}"))
    with pytest.raises(InvalidHeader):
        parsed(head("GET", "/", f"Host: {host}", version="1.0"))


def test_no_host() -> None:
    with pytest.raises(InvalidHeader):
        parsed(b"GET / HTTP/1.1\r\n\r\n")
    assert parsed(b"GET / HTTP/1.0\r\n\r\n").request.version == (1, 0)


def test_two_hosts() -> None:
    for version in ("1.0", "1.1"):
        with pytest.raises(InvalidHeader):
            parsed(head("GET", "/", "Host: a", "Host: a", version=version))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://b/", "b"),
        ("http://b:81/x?y", "b:81"),
        ("http://b", "b"),
        ("http://b?q=/", "b"),
        ("https://u:p@b/", "b"),
        ("http://[::1]:8/", "[::1]:8"),
        ("/http://b/", "a"),
        ("/", "a"),
    ],
)
def test_the_host_of_an_absolute_target_counts(target: str, host: str) -> None:
    assert host_of(head("GET", target, "Host: a")) == host


def test_an_absolute_target_needs_a_host_too() -> None:
    with pytest.raises(InvalidHeader):
        parsed(b"GET http://b/ HTTP/1.1\r\n\r\n")
    with pytest.raises(InvalidRequestLine):
        parsed(head("GET", "http:///x"))
    with pytest.raises(InvalidRequestLine):
        parsed(head("GET", "http://u@/x"))


def test_connect_is_refused() -> None:
    with pytest.raises(InvalidRequestMethod):
        parsed(head("CONNECT", "a:443"))


@pytest.mark.parametrize(
    "coding",
    ["", ",", ", chunked", "chunked,", "chunked;q=1", '"chunked"', "chunked chunked", "ch\xe4nked"],
)
def test_an_odd_list_of_codings(coding: str) -> None:
    with pytest.raises(InvalidHeader):
        parsed(head("POST", "/", f"Transfer-Encoding: {coding}"))


@pytest.mark.parametrize("coding", ["gzip", "identity", "chunked, chunked", "chunked, gzip"])
def test_a_body_whose_end_cannot_be_known(coding: str) -> None:
    with pytest.raises(InvalidHeader):
        parsed(head("POST", "/", f"Transfer-Encoding: {coding}"))


@pytest.mark.parametrize("coding", ["br", "br, chunked", "xchunked"])
def test_a_coding_that_nobody_knows_is_not_implemented(coding: str) -> None:
    with pytest.raises(UnsupportedTransferCoding):
        parsed(head("POST", "/", f"Transfer-Encoding: {coding}"))


# Heads


def test_a_head_is_complete_or_not() -> None:
    whole = head("POST", "/", "Content-Length: 4") + b"body"
    size = len(whole) - 4
    for end in range(size):
        with pytest.raises(NeedMore):
            parsed(whole[:end])
    for end in range(size, len(whole) + 1):
        arrived = parsed(whole[:end])
        assert (arrived.head, arrived.length, arrived.size) == (size, 4, size + 4)


def test_nothing_more_will_come() -> None:
    with pytest.raises(StopIteration):
        parsed(b"", complete=True)
    with pytest.raises(NoMoreData):
        parsed(b"GET / HTT", complete=True)


def test_a_head_that_never_ends_is_too_large() -> None:
    lines = [f"X-{index}: {'x' * 1000}" for index in range(70)]
    data = head("GET", "/", *lines)[: MOST_HEAD - 1]
    with pytest.raises(NeedMore):
        parsed(data)
    with pytest.raises(LimitRequestHeaders):
        parsed(data + b"x")


def test_only_the_end_of_a_line_is_worth_a_look() -> None:
    assert not may_be_complete(b"GET / HTTP/1.1", 0)
    assert may_be_complete(b"GET / HTTP/1.1\r\n", 14)
    assert not may_be_complete(b"GET / HTTP/1.1\r\nHo", 16)
    assert may_be_complete(b"x" * MOST_HEAD, MOST_HEAD - 1)


@pytest.mark.parametrize(
    ("fields", "upgrades"),
    [
        (["Upgrade: websocket", "Connection: Upgrade"], True),
        (["Upgrade: WebSocket"], True),
        (["Upgrade: h2c", "Connection: Upgrade"], False),
        (["Connection: Upgrade"], False),
    ],
)
def test_only_websockets_take_the_socket(fields: list[str], upgrades: bool) -> None:
    assert parsed(head("GET", "/", *fields)).request_upgrades() is upgrades


# Chunked bodies

GOOD = [
    chunked(),
    chunked(b"hello", b" world"),
    chunked(b"hello", extension=";a=b"),
    chunked(b"hello", extension=' ; a = "b;\\"c"'),
    chunked(b"hello", trailers="X: y\r\nZ: 1\r\n"),
    b"00005\r\nhello\r\n000\r\n\r\n",
    b"0" * 20 + b"5\r\nhello\r\n" + b"0" * 20 + b"\r\n\r\n",
    b"A\r\n0123456789\r\n0;last\r\n\r\n",
    chunked(b"\r\n\r\n", b"0\r\n\r\n"),
    b"5;a=" + b"b" * 8000 + b"\r\nhello\r\n0\r\n\r\n",
]

BAD = [
    b"6_0\r\n world",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello",
    b"0x5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b'5;a="b\r\nhello\r\n',
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloX\r\n",
    b"5\r\nhello\n0\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    b"5" + b";" * 9000,
    b"5;a=" + b"b" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
    b"0\r\n" + b"X: y\r\n" * 20000,
    (b"1;a=" + b"b" * 1000 + b"\r\nh\r\n") * 18,
    b"10000000000000000\r\nhello",
    b"10000000000000000",
    b"z",
    b";a=b",
    b"5x",
    b"5\rx",
    b"5 ;a\rb",
    b"0\r\nno colon\r\n",
    b"0\r\n: y\r\n",
]


def test_extensions_may_be_many_but_not_most_of_a_body() -> None:
    """A signature for every kilobyte is fine, however many; see `ChunkScanner`."""
    fine = chunked(*[b"x" * 1000] * 2000, extension=";signature=" + "0" * 64)
    bytewise = chunked(*[b"x"] * 5000, extension=";a=b")
    for body in (fine, bytewise):
        scanner = ChunkScanner()
        assert scanner.feed(body) == len(body)
        assert scanner.done


def incoming() -> Incoming:
    arrived = parsed(head("POST", "/", "Transfer-Encoding: chunked"))
    return Incoming(arrived, Uploads(0, threads=1, warn=pytest.fail))


@pytest.mark.parametrize("body", GOOD)
def test_where_a_chunked_body_ends(body: bytes) -> None:
    for cut in range(len(body) + 1):
        scanner = ChunkScanner()
        first = scanner.feed(body[:cut])
        assert scanner.done == (cut == len(body))
        assert first == cut
        assert first + scanner.feed(body[cut:] + b"GET /next") == len(body)
        assert scanner.done


@pytest.mark.parametrize("body", BAD)
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_a_malformed_chunked_body_is_refused_without_waiting_for_more(
    body: bytes, step: int
) -> None:
    request = incoming()
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        request.take(piece)
        if request.whole:
            break
    assert request.whole
    with pytest.raises(ParseException):
        request.finish()
    request.close()


def test_a_chunked_body_is_what_its_chunks_hold() -> None:
    rng = random.Random(3)
    for _ in range(50):
        pieces = [rng.randbytes(rng.randint(1, 300)) for _ in range(rng.randint(0, 9))]
        body = chunked(*pieces, trailers="X-Sum: 1\r\n" * rng.randint(0, 2))
        request = incoming()
        while body:
            piece = body[: rng.randint(1, 100)]
            assert request.take(piece) == len(piece)
            body = body[len(piece) :]
        assert request.whole
        assert request.finish().request.body.read() == b"".join(pieces)
        request.close()


def test_where_scanner_and_parser_would_disagree_nobody_is_believed() -> None:
    arrived = parsed(head("POST", "/", "Transfer-Encoding: chunked"))
    assert arrived.framing is Framing.CHUNKED
    with pytest.raises(ParseException):
        arrived.decode_body(io.BytesIO(chunked(b"hello") + b"GET / HTTP/1.1\r\n"), io.BytesIO())
    arrived = parsed(head("POST", "/", "Transfer-Encoding: chunked"))
    with pytest.raises(ParseException):
        arrived.decode_body(io.BytesIO(b"5\r\nhel"), io.BytesIO())
