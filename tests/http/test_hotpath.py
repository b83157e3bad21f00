"""The hot path and gunicorn's own path: the same environ, the same verdicts, the same bytes.

Two clusters serve the same app; one has a hook configured, which keeps every
request on gunicorn's path. Whatever both are sent, both must answer the same.
"""

from __future__ import annotations

import itertools
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apps.answers import KINDS
from tests.http import corpus
from tests.http.wire import Response, Wire
from tests.support import APPS, StartCluster, sized

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
        self.plain += hot.count(b"<path hot")
        assert b"<path hot" not in reference
        assert hot.replace(b"<path hot", b"<path ref") == reference, request
        return hot


def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """All that comes back until the server closes, without the dates."""
    answer = b""
    with Wire(address) as wire:
        wire.send(request).finish()
        try:
            while piece := wire.sock.recv(65536):
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


ORDINARY_METHODS = st.sampled_from([b"GET", b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"])
ODD_METHODS = st.sampled_from([*b"HEAD PATCH TRACE get G!T G#T GE CONNECT".split(), b"A" * 21, b""])
ORDINARY_TARGETS = st.sampled_from([b"/", b"/a?b=c", b"/a%20b", b"/%e4?%zz", b"/a//b", b"/;p"])
ODD_TARGETS = st.one_of(
    st.sampled_from([b"//a/b", b"/a#b", b"*", b"http://x/y", b"x:80", b"/\xe4", b"/a?b?c", b"/?"])
    | st.sampled_from([b"/[", b"/a%", b"/a b", b"/a\tb", b"/a\r", b"/a\n", b"/a\0"]),
    st.from_regex(rb"/[!-~]{0,40}", fullmatch=True),
)
ODD_VERSIONS = st.sampled_from(
    [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.2", b"HTTP/1.1 ", b""]
)
ODD_HOSTS = st.sampled_from(
    [(), (b"Host:",), (b"Host: a", b"Host: b"), (b"Host: a b",), (b"Host: a@b",), (b"Host : a",)]
)
ORDINARY_NAMES = st.sampled_from(
    b"Accept accept Cookie X-A X-B User-Agent Content-Type Referer Connection TE X-Forwarded-For "
    b"Forwarded Authorization Script-Name Trailer".split()
)
_ODD_NAMES = (
    b"Host X_A SCRIPT_NAME X-Forwarded-Proto Content-Length Content_Length Transfer-Encoding "
    b"Transfer_Encoding Expect Upgrade X\xe4 X\0"
)
ODD_NAMES = st.sampled_from(
    [*_ODD_NAMES.split(), b"X A", b"X-A ", b" X-A", b"\tX-A", b"", b"Content-Length ", b"Host\t"]
)
ORDINARY_VALUES = st.sampled_from(
    [b"", b"a", b"*/*", b"keep-alive", b"close", b"a, b", b"https", b"0", b"x" * 300, b"\xe4\xfc"]
)
ODD_VALUES = st.one_of(
    st.sampled_from([b"Close", b"TE, close", b"close,TE", b"keep-alive, Close", b"close;q=1"])
    | st.sampled_from(
        [b"100-continue", b"chunked", b"identity", b"5", b"5, 5", b"+5", b"x" * 9000]
    ),
    st.sampled_from([b"a\nX: b", b"a\r\n b", b"a\rX: b", b"\0", b"\x0bchunked", b"\xb2"]),
    st.binary(max_size=12),
)
ODD_SEPARATORS = st.sampled_from([b":", b":  ", b" : ", b":\t", b"; ", b"", b" :"])
ODD_BODIES = st.sampled_from([b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"\r\n", b"\n"])
KINDS_ASKED = st.sampled_from([None, *KINDS])

PARTS = ["method", "target", "version", "host", "name", "value", "separator", "body"]
ODDITIES = st.one_of(st.just(set[str]()), st.sets(st.sampled_from(PARTS), max_size=2))
"""What may be odd about a request; all else is ordinary, else hardly any would be accepted."""


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    odd = draw(ODDITIES)
    method = draw(ODD_METHODS if "method" in odd else ORDINARY_METHODS)
    target = draw(ODD_TARGETS if "target" in odd else ORDINARY_TARGETS)
    version = draw(ODD_VERSIONS) if "version" in odd else b"HTTP/1.1"
    lines = list(draw(ODD_HOSTS)) if "host" in odd else [b"Host: test"]
    for _ in range(draw(st.integers(0, 4))):
        name = draw(ODD_NAMES if "name" in odd else ORDINARY_NAMES)
        separator = draw(ODD_SEPARATORS) if "separator" in odd else b": "
        lines.append(name + separator + draw(ODD_VALUES if "value" in odd else ORDINARY_VALUES))
    if kind := draw(KINDS_ASKED):
        lines.append(b"X-Answer: " + kind.encode())
    body = draw(ODD_BODIES) if "body" in odd else b""
    return head(b" ".join((method, target, version)), *draw(st.permutations(lines))) + body


def test_generated_requests_get_the_same_answer(pair: Pair) -> None:
    before = pair.plain

    @given(first=requests(), behind=st.one_of(st.just(b""), st.just(b""), requests()))
    @settings(max_examples=sized(500, 1500), deadline=None, derandomize=True)
    def check(first: bytes, behind: bytes) -> None:
        pair.same(first + behind)

    check()
    assert pair.plain - before > sized(80, 250), "else it says little about the hot path"


def test_gunicorns_corpus_gets_the_same_answer(pair: Pair, subtests: pytest.Subtests) -> None:
    before = pair.plain
    cases = corpus.load()
    for case in [*cases, *(case.with_host() for case in cases if case.lacks_host)]:
        with subtests.test(case.name):
            pair.same(case.data)
    assert pair.plain - before > 10, "else it says little about the hot path"


def test_most_ordinary_requests_are_plain(pair: Pair) -> None:
    before = pair.plain
    for path in (b"/", b"/a?b=c", b"/a%20b"):
        for method in (b"GET", b"POST", b"OPTIONS"):
            pair.same(head(method + b" " + path + b" HTTP/1.1", b"Host: x", b"Cookie: a=b"))
    assert pair.plain - before == 9


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"], ids=["keep-alive", "close"])
def test_every_kind_of_answer_is_the_same(
    pair: Pair, connection: bytes, subtests: pytest.Subtests
) -> None:
    for answer, method in itertools.product(KINDS, [b"GET", b"HEAD", b"POST"]):
        first = method + b" /x HTTP/1.1"
        ask = head(first, b"Host: x", b"Connection: " + connection, b"X-Answer: " + answer.encode())
        with subtests.test(f"{method.decode()} {answer}"):
            # The second time it is answered from memory.
            assert pair.same(ask) == pair.same(ask)


@pytest.mark.parametrize("answer", ["negative_length", "underscored_length", "differing_lengths"])
def test_a_length_that_leaves_it_to_the_client_is_the_apps_failure(pair: Pair, answer: str) -> None:
    ask = head(b"GET /x HTTP/1.1", b"Host: x", f"X-Answer: {answer}".encode())
    assert pair.same(ask).startswith(b"HTTP/1.1 500 ")


def test_fields_that_can_be_looked_at_once(pair: Pair) -> None:
    answer = pair.same(head(b"GET /x HTTP/1.1", b"Host: x", b"X-Answer: iterated_fields"))
    assert b"\r\nX-A: b\r\n" in answer
    assert b"Connection: keep-alive\r\n" in answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_every_kind_of_answer_on_one_connection(pair: Pair, method: str) -> None:
    """The client stays: what is sent twice or too little would be taken for the next answer."""
    hot, reference = (visit(address, method) for address in (pair.hot, pair.reference))
    assert hot == reference
    assert sum(response is None for _, response in hot) < 15


def visit(address: tuple[str, int], method: str) -> list[tuple[str, Response | None]]:
    """The answer of every kind, on the connection of the one before if that has not ended.

    None: there is no answer, or only a part of one.
    """
    found: list[tuple[str, Response | None]] = []
    with ExitStack() as stack:
        wire = stack.enter_context(Wire(address))
        for kind in KINDS:
            response = answer_of(wire, kind, method)
            found.append((kind, response))
            if response is None or response.closes or kind in LEAVES:
                wire.close()
                wire = stack.enter_context(Wire(address))
    return found


def answer_of(wire: Wire, kind: str, method: str) -> Response | None:
    try:
        response = wire.ask("/x", f"X-Answer: {kind}", method=method)
    except (EOFError, ConnectionError):
        return None
    response.fields.pop("date", None)
    return replace(response, body=response.body.replace(b"<path hot", b"<path ref"))


LEAVES = {kind for kind in KINDS if re.search("behind_the_body|fails_to_close", kind)}
"""After these the connection ends, and the answer could not say so."""


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
