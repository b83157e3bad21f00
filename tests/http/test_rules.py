"""RFC 9112 and RFC 9110 over sockets: what is refused, and one response to one request.

All of it with the hot path and without.
"""

from __future__ import annotations

import json

import pytest

from tests.http.wire import Wire, chunked, head
from tests.support import APPS, StartCluster

Address = tuple[str, int]


@pytest.fixture(scope="module", params=["hot", "reference"])
def mirror(start_shared: StartCluster, request: pytest.FixtureRequest) -> Address:
    """Tells what it was asked."""
    hooks = ("--gunicorn-config", str(APPS / "no_hot_path.py"))
    options = hooks if request.param == "reference" else ()
    name = ("--name", request.param)
    return start_shared("mirror:application", "-w", "1", *name, *options).ready().address


def refused(address: Address, request: bytes, *more: bytes) -> int:
    """The status of the only response to a request, and to whatever is sent behind it."""
    with Wire(address) as wire:
        for part in (request, *more):
            wire.send_what_it_takes(part)
        response = wire.response()
        assert response.interim == []
        assert response.closes
        assert "date" in response.fields  # RFC 9110 section 6.6.1
        assert wire.finish().is_closed()
        return response.status


NEXT = head("GET", "/next")

POST = ("POST", "/x", "Transfer-Encoding: chunked")

HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def raw(*lines: bytes, method: bytes = b"POST") -> bytes:
    """A request whose lines end with CRLF, except where they say otherwise."""
    return b"\r\n".join((method + b" / HTTP/1.1", *lines, b"", b""))


REFUSED = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (head("GET", "/", "Host:"), 400),
    (head("GET", "/", "Host: \t"), 400),
    (head("GET", "/", "Host: a", "Host: a"), 400),
    (head("GET", "/", "Host: a", "host: b"), 400),
    (head("POST", "/", "Host: a b", "Content-Length: 0"), 400),
    (head("POST", "/", "Host: a@b", "Content-Length: 0"), 400),
    (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    (head("CONNECT", "a:443"), 400),
    (head("POST", "/", "Transfer-Encoding:"), 400),
    (head("POST", "/", "Transfer-Encoding: ,"), 400),
    (head("POST", "/", "Transfer-Encoding: chunked,"), 400),
    (head("POST", "/", "Transfer-Encoding: chunked;q=1"), 400),
    (head("POST", "/", "Transfer-Encoding: chunked, chunked"), 400),
    (head("POST", "/", "Transfer-Encoding: chunked, gzip"), 400),
    (head("POST", "/", "Transfer-Encoding: gzip"), 400),
    (head("POST", "/", "Transfer-Encoding: br, chunked"), 501),
    (head("POST", "/", "Transfer-Encoding: chunked", "Content-Length: 4"), 400),
    (head("POST", "/", "Transfer-Encoding: chunked", version="1.0"), 400),
    (head("POST", "/", "Content-Length: 4", "Content-Length: 4"), 400),
    (head("POST", "/", "Content-Length: 4, 4"), 400),
    (head("POST", "/", "Content-Length:"), 400),
    (head("POST", "/", "Content-Length: 1e3"), 400),
    (head("GET", "/", "Expect: the worst"), 417),
    (head("GET", "/" + "x" * 9000), 414),
    (head("GET", "/", "X: " + "x" * 9000), 431),
    (head("GET", "/", *(f"X-{index}: y" for index in range(200))), 431),
    (head("GET", "/", "X" * 70000 + ": y"), 431),
    (head("GET", "/", version="2.0"), 400),
    (b"GET /\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (head(*POST) + b"5\r\nhelloX\r\n0\r\n\r\n", 400),
    (head(*POST) + b"6_0\r\n", 400),
    (head(*POST) + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    (head(*POST) + b"5\nhello\r\n0\r\n\r\n", 400),
    (head(*POST) + b"5\r\nhello\r\n0\r\nX: y\n", 400),
    (head(*POST) + b"5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n", 400),
    (head(*POST) + b"zz\r\n", 400),
]


def test_refused_with_one_response_whatever_comes_behind(
    mirror: Address, subtests: pytest.Subtests
) -> None:
    for request, status in REFUSED:
        with subtests.test(repr(request[:200])):
            assert refused(mirror, request) == status
            assert refused(mirror, request, NEXT) == status
            assert refused(mirror, request + NEXT * 3) == status


AMBIGUOUS = [
    # Two ways to find the end of the body (RFC 9112 section 6.3)
    raw(b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked") + HELLO,
    raw(b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 5") + HELLO,
    raw(b"Host: a", b"Transfer-Encoding: gzip, chunked", b"Content-Length: 5") + HELLO,
    raw(b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: identity") + b"hello",
    raw(b"Host: a", b"Content-Length: 5", b"Transfer-Encoding:") + b"hello",
    raw(b"Host: a", b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    raw(b"Host: a", b"Content-Length: 5", b"content-length: 0") + b"hello",
    raw(b"Host: a", b"Content-Length: 0", b"Content-Length: 5", method=b"GET") + b"hello",
    raw(b"Host: a", b"Content-Length: 5, 5") + b"hello",
    raw(b"Host: a", b"Content-Length: 5,") + b"hello",
    # What is no Content-Length (RFC 9110 section 8.6)
    *(
        raw(b"Host: a", b"Content-Length: " + value) + b"hello"
        for value in (b"+5", b"-5", b"5 5", b"0x5", b"5.0", b"5;", b'"5"', b"\xb2", b"5_0")
    ),
    raw(b"Host: a", b"Content-Length: " + b"9" * 5000),
    # What is no chunked (RFC 9112 section 7)
    *(
        raw(b"Host: a", b"Transfer-Encoding: " + value) + HELLO
        for value in (b"\x0bchunked", b"chunked\0", b"\x85chunked", b"[chunked]", b"chunked ,")
    ),
    raw(b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + HELLO,
    raw(b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + HELLO,
    raw(b"Host: a", b"Transfer-Encoding:", b"Transfer-Encoding: chunked") + HELLO,
    # Lines that are folded, or begin with a space (sections 5.2 and 2.2)
    raw(b"Host: a", b"X: b", b" c"),
    raw(b"Host: a", b"X: b", b"\tContent-Length: 5"),
    raw(b"Host: a", b"Transfer-Encoding:", b" chunked") + HELLO,
    raw(b" Host: a"),
    raw(b"Host: a", b" ", b"X: b"),
    # Names that are none, or have a space behind them (section 5.1)
    raw(b"Host : a"),
    raw(b"Host: a", b"Content-Length : 5") + b"hello",
    raw(b"Host: a", b"Transfer-Encoding\t: chunked") + HELLO,
    raw(b"Host: a", b"Transfer-Encoding\0: chunked") + HELLO,
    raw(b"Host: a", b"X(): b"),
    raw(b"Host: a", b"X\xe4: b"),
    raw(b"Host: a", b": b"),
    raw(b"Host: a", b"b"),
    # CR and LF on their own (section 2.2)
    raw(b"Host: a", b"X: b").replace(b"\r\n", b"\n"),
    raw(b"Host: a\nContent-Length: 5") + b"hello",
    raw(b"Host: a", b"X: b\nTransfer-Encoding: chunked") + HELLO,
    raw(b"Host: a", b"X: b\rTransfer-Encoding: chunked") + HELLO,
    raw(b"Host: a", b"X: b\r\rContent-Length: 5") + b"hello",
    raw(b"Host: a", b"X: b\r\n\n"),
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    # Control characters (RFC 9110 section 5.5)
    raw(b"Host: a", b"X: \0"),
    raw(b"Host: a", b"X: b\x7f"),
    # Request lines (section 3)
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    # Chunks (section 7.1)
    *(
        head(*POST) + body
        for body in (
            b"5 \r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"5;\r\nhello\r\n0\r\n\r\n",
            b"5;\nab\r\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b'5;a="b\r\nhello\r\n0\r\n\r\n',
            b"5\rhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\r\n0\n\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX : b\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: b\nY: c\r\n\r\n",
            b"5;a=" + b"b" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
            (b"1;a=" + b"b" * 1000 + b"\r\nh\r\n") * 20 + b"0\r\n\r\n",
            b"\r\nhello",
            b"\r\n0\r\n\r\n",
        )
    ),
]


def test_what_others_may_read_otherwise_is_refused(
    mirror: Address, subtests: pytest.Subtests
) -> None:
    """Smuggling needs two readers that disagree; there is nothing here to disagree about."""
    for request in AMBIGUOUS:
        with subtests.test(repr(request[:200])):
            assert refused(mirror, request) == 400
            assert refused(mirror, request + NEXT) == 400


@pytest.mark.parametrize("past", [1 << 32, 1 << 48])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_size_does_not_wrap_around(mirror: Address, past: int, coding: str) -> None:
    """It is what it says, which is too much; what looks like a next request is not answered."""
    if coding == "length":
        request = head("POST", "/x", f"Content-Length: {past + 5}") + b"hello"
    else:
        request = head(*POST) + b"%x\r\nhello\r\n0\r\n\r\n" % (past + 5)
    assert refused(mirror, request + NEXT) == 413


def test_names_with_an_underscore_do_not_reach_the_app(mirror: Address) -> None:
    """In its environ they could not be told from those with a hyphen."""
    fields = ("Content_Length: 0", "Transfer_Encoding: chunked", "X_A: 1", "X-A: 2", "X_B: 3")
    with Wire(mirror) as wire:
        seen = json.loads(wire.post("/x", b"hello", *fields).response().body)
        assert seen["body"] == "hello"
        assert seen["HTTP_X_A"] == "2"
        assert not {"HTTP_X_B", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"} & seen.keys()
        assert "HTTP_X_B" not in json.loads(wire.ask("/y", "X_B: 3").body)


def test_odd_but_right(mirror: Address) -> None:
    """What RFC 9112 allows, read as it means it."""
    bodies = (
        b"0005\r\nhello\r\n0000\r\n\r\n",
        b'5 ; a = "\\"b;" ;c\r\nhello\r\n0;d\r\n\r\n',
        b"5\r\nhello\r\n0\r\nX: y\r\nZ:\r\n\r\n",
        b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n",
    )
    with Wire(mirror) as wire:
        for body in bodies:
            request = head("POST", "/x", "tRansfer-encoding: \t Chunked \t")
            assert json.loads(wire.send(request + body).response().body)["body"] == "hello"
        # An empty line before a request (section 2.2)
        assert wire.send(b"\r\n" + head("GET", "/y")).response().status == 200
        seen = json.loads(wire.ask("/z", "X-A:1", "X-B:\t2 ", "X-C:", "X-A: 3").body)
        assert (seen["HTTP_X_A"], seen["HTTP_X_B"], seen["HTTP_X_C"]) == ("1,3", "2", "")


def test_a_minor_version_of_the_future_is_answered_with_ours(mirror: Address) -> None:
    with Wire(mirror) as wire:
        for _ in range(2):
            response = wire.send(head("GET", "/", version="1.2")).response()
            assert (response.version, response.status) == ("HTTP/1.1", 200)


def test_the_host_of_an_absolute_target_counts(mirror: Address) -> None:
    with Wire(mirror) as wire:
        seen = json.loads(wire.ask("http://real/x?y", "Host: other").body)
    assert seen["HTTP_HOST"] == "real"
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/x", "y")


def test_an_http_1_0_request_needs_no_host(mirror: Address) -> None:
    with Wire(mirror) as wire:
        assert wire.send(b"GET / HTTP/1.0\r\n\r\n").response().status == 200
        assert wire.is_closed()


@pytest.mark.parametrize("together", [True, False])
def test_pipelined_requests_are_answered_in_order_once_each(
    mirror: Address, together: bool
) -> None:
    requests = []
    for index in range(100):
        kinds = [
            head("GET", f"/{index}"),
            head("POST", f"/{index}", "Content-Length: 5") + b"hello",
            head("POST", f"/{index}", "Transfer-Encoding: chunked") + chunked(b"hel", b"lo"),
            head("POST", f"/{index}", "Content-Length: 90000") + b"h" * 90000,
        ]
        requests.append(kinds[index % len(kinds)])
    with Wire(mirror) as wire:
        wire.send(*([b"".join(requests)] if together else requests))
        for index in range(100):
            seen = json.loads(wire.response().body)
            assert seen["PATH_INFO"] == f"/{index}"
            assert seen["body"] == ("", "hello", "hello", "h" * 90000)[index % 4]
        assert wire.finish().is_closed()


def test_a_request_behind_one_that_closes_is_not_answered(mirror: Address) -> None:
    for first in (
        head("GET", "/a", "Connection: close"),
        head("GET", "/a", "Connection: TE, Close"),
        head("GET", "/a", "Connection: keep-alive,close"),
        head("GET", "/a", "Connection: keep-alive", "Connection: close"),
        head("GET", "/a", "Connection: keep-alive, close", version="1.0"),
        head("POST", "/a", "Connection: close", "Content-Length: 2") + b"ab",
        head("POST", "/a", "Connection: close", "Transfer-Encoding: chunked") + chunked(b"ab"),
        head("POST", "/a", "Connection: close", "Content-Length: 90000") + b"a" * 90000,
    ):
        with Wire(mirror) as wire:
            response = wire.send(first + NEXT * 100).response()
            assert response.status == 200
            assert response.closes
            assert json.loads(response.body)["PATH_INFO"] == "/a"
            assert wire.is_closed(), "and it was not destroyed by a reset"
