"""The hot path and gunicorn's own path: the same environ, the same verdicts, the same bytes.

Two clusters serve the same app; one has a hook configured, which keeps every
request on gunicorn's path. Whatever both are sent, both must answer the same.
"""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.apps.answers import ANSWERS
from tests.support import APPS, StartCluster

_DATE = re.compile(rb"Date: [^\r]*\r\n")


@dataclass
class Pair:
    """A cluster with the hot path and one without."""

    hot: tuple[str, int]
    reference: tuple[str, int]
    plain: int = 0
    """Requests that took the hot path."""

    def same(self, request: bytes) -> bytes:
        """What both answer; the test fails when they differ."""
        hot, reference = exchange(self.hot, request), exchange(self.reference, request)
        self.plain += b"<path hot" in hot
        assert b"<path hot" not in reference
        assert hot.replace(b"<path hot", b"<path ref") == reference, request
        return hot


def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """All that comes back until the server closes, without the dates."""
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        with ExitStack() as stack:
            stack.callback(client.close)
            answer = b""
            try:
                while piece := client.recv(65536):
                    answer += piece
            except ConnectionResetError:
                answer += b"<reset>"
    return _DATE.sub(b"", answer)


@pytest.fixture(scope="module")
def pair(start_shared: StartCluster) -> Pair:
    one = ("answers:app", "-w", "1", "--threads", "2", "--name")
    hot = start_shared(*one, "hot")
    reference = start_shared(*one, "reference", "--gunicorn-config", str(APPS / "no_hot_path.py"))
    return Pair(hot.ready().address, reference.ready().address)


def head(first: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((first, *lines, b"", b""))


_METHODS = b"GET GET GET POST PUT DELETE OPTIONS HEAD PATCH TRACE get G!T G#T GE CONNECT"
METHODS = st.sampled_from([*_METHODS.split(), b"A" * 21, b""])
TARGETS = st.one_of(
    st.sampled_from([b"/", b"/a?b=c", b"/a%20b", b"/%e4?%zz", b"//a/b", b"/a//b", b"/a#b", b"*"])
    | st.sampled_from([b"http://x/y", b"x:80", b"/\xe4", b"/a?b?c", b"/?", b"/;p", b"/[", b"/a%"]),
    st.from_regex(rb"/[!-~]{0,40}", fullmatch=True),
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.2"])
_NAMES = (
    b"Accept accept Cookie X-A X-B User-Agent Content-Type Referer Connection Host TE "
    b"X_A Script-Name SCRIPT_NAME X-Forwarded-Proto X-Forwarded-For Forwarded Authorization "
    b"Content-Length Transfer-Encoding Expect Upgrade Trailer X\xe4"
)
NAMES = st.sampled_from([*_NAMES.split(), b"X A", b"X-A ", b" X-A", b""])
VALUES = st.one_of(
    st.sampled_from([b"", b"a", b"*/*", b"close", b"Close", b"keep-alive", b"a, b", b"https", b"0"])
    | st.sampled_from([b"100-continue", b"chunked", b"identity", b"5", b"x" * 9000, b"\xe4\xfc"]),
    st.binary(max_size=12).filter(lambda value: b"\n" not in value),
)
SEPARATORS = st.sampled_from([b": ", b":", b":  ", b" : ", b":\t", b"; "])
HOSTS = st.sampled_from([(b"Host: test",)] * 10 + [(), (b"Host:",), (b"Host: a", b"Host: b")])
ASKS = st.sampled_from([None, *ANSWERS])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    first = b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS)))
    lines = list(draw(HOSTS))
    for _ in range(draw(st.integers(0, 4))):
        lines.append(draw(NAMES) + draw(SEPARATORS) + draw(VALUES))
    if ask := draw(ASKS):
        lines.append(b"X-Answer: " + ask.encode())
    body = draw(st.sampled_from([b""] * 6 + [b"hello", b"5\r\nhello\r\n0\r\n\r\n"]))
    return head(first, *draw(st.permutations(lines))) + body


@given(request=requests())
@settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
def test_generated_requests_get_the_same_answer(pair: Pair, request: bytes) -> None:
    pair.same(request)


def test_most_ordinary_requests_are_plain(pair: Pair) -> None:
    before = pair.plain
    for path in (b"/", b"/a?b=c", b"/a%20b"):
        for method in (b"GET", b"POST", b"OPTIONS"):
            pair.same(head(method + b" " + path + b" HTTP/1.1", b"Host: x", b"Cookie: a=b"))
    assert pair.plain - before == 9


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
def test_every_kind_of_answer_is_the_same(
    pair: Pair, answer: str, method: bytes, connection: bytes
) -> None:
    first = method + b" /x HTTP/1.1"
    ask = head(first, b"Host: x", b"Connection: " + connection, b"X-Answer: " + answer.encode())
    # The second time it is answered from memory.
    assert pair.same(ask) == pair.same(ask)


def test_what_is_remembered_is_forgotten_when_it_is_too_much(pair: Pair) -> None:
    before = pair.plain
    for number in range(600):
        pair.same(head(b"GET /%d HTTP/1.1" % number, b"Host: x", b"X-Number: %d" % number))
    assert pair.plain - before == 600


def test_browser_heads_are_plain(pair: Pair) -> None:
    before = pair.plain
    pair.same(
        head(
            b"GET /clustered HTTP/1.1",
            b"Host: localhost:3000",
            b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            b"Accept-Language: en-US,en;q=0.5",
            b"Accept-Encoding: gzip, deflate, br, zstd",
            b"Connection: keep-alive",
            b"Cookie: session=abc.def; theme=dark",
            b"Upgrade-Insecure-Requests: 1",
            b"Sec-Fetch-Dest: document",
            b"Sec-Fetch-Mode: navigate",
            b"Sec-Fetch-Site: none",
            b"Priority: u=0, i",
        )
    )
    assert pair.plain - before == 1
