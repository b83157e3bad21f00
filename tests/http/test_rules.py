"""RFC 9112 and RFC 9110 over sockets: what is refused, and one response to one request."""

from __future__ import annotations

import json

import pytest

from tests.http.wire import Wire, chunked, head
from tests.support import StartCluster

Address = tuple[str, int]


@pytest.fixture(scope="module")
def mirror(start_shared: StartCluster) -> Address:
    """Tells what it was asked."""
    return start_shared("mirror:application", "-w", "1").ready().address


def refused(address: Address, request: bytes, *more: bytes) -> int:
    """The status of the only response to a request, and to whatever is sent behind it."""
    with Wire(address) as wire:
        for part in (request, *more):
            wire.send_what_it_takes(part)
        response = wire.response()
        assert response.closes
        assert wire.finish().is_closed()
        return response.status


NEXT = head("GET", "/next")

POST = ("POST", "/x", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
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
    ],
)
def test_refused_with_one_response_whatever_comes_behind(
    mirror: Address, request_: bytes, status: int
) -> None:
    assert refused(mirror, request_) == status
    assert refused(mirror, request_, NEXT) == status
    assert refused(mirror, request_ + NEXT * 3) == status


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
