"""A body that the app reads from the client as it comes: what it gets, and what is left behind."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException

from launcher.policy.rescue import CONTINUE
from launcher.policy.serving.patience import Patience
from launcher.worker.connection import body_reader
from launcher.worker.connection.connection import Connection
from launcher.worker.exchange.input import Input
from launcher.worker.request.body import Incoming
from launcher.worker.request.body_errors import Gone, TooLarge, TooSlow
from launcher.worker.request.parsing import parse
from launcher.worker.request.uploads import EARLY, Uploads
from tests.apps.uploads import interface
from tests.http.wire import chunked, head

CFG: Any = Config()  # type: ignore[no-untyped-call]
DATA = random.Random(5).randbytes(3_000_000)
LINES = b"abcdefghi\nABCDEF\nline\nmore\nlast"
NEXT = b"GET /next HTTP/1.1\r\n"
DEADLINE = 10.0


class Upload:
    """A request whose head has come, and the client's end of its connection."""

    def __init__(self, *fields: str, limit: int = 0, patience: Patience | None = None) -> None:
        self.client, ours = socket.socketpair()
        self.client.settimeout(DEADLINE)
        self.conn = Connection(ours, 1, 0, "127.0.0.1", 5)
        self.uploads = Uploads(limit, 4, pytest.fail)
        self.progress = 0
        self._sending: threading.Thread | None = None
        self._patience = patience or Patience()
        self.silence = self._patience.silence
        arrived = parse(head("POST", "/", *fields), False, CFG, ("127.0.0.1", 5), 1)
        self.incoming = Incoming(arrived, self.uploads)

    def stream(self) -> Any:
        """``wsgi.input``."""
        pad: Any = SimpleNamespace(progressed=self._progressed, wait_for_client=lambda: None)
        arrived = body_reader.stream(
            self.incoming, self.conn, pad, self._patience, lambda: self.silence
        )
        return Input(arrived.request.body)

    def send(self, data: bytes) -> None:
        """Send, in a thread of its own: it may be more than the socket holds."""

        def sending() -> None:
            with suppress(ConnectionError):
                self.client.sendall(data)

        self._sending = threading.Thread(target=sending)
        self._sending.start()

    def behind(self) -> bytes:
        """What is left on the connection."""
        return self.conn.peek(100) or b""

    def close(self) -> None:
        self.incoming.close()
        self.conn.sock.close()
        if self._sending:
            self._sending.join(DEADLINE)
        self.client.close()

    def _progressed(self, now: int) -> None:
        self.progress = now


Uploading = Callable[..., Upload]


@pytest.fixture
def upload() -> Iterator[Uploading]:
    made: list[Upload] = []

    def make(*fields: str, **options: Any) -> Upload:
        made.append(Upload(*fields, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def framed(coding: str, *pieces: bytes) -> tuple[str, bytes]:
    """The field that says where a body ends, and the body as it is sent."""
    body = b"".join(pieces)
    if coding == "length":
        return f"Content-Length: {len(body)}", body
    return "Transfer-Encoding: chunked", chunked(*pieces, extension=";a=b", trailers="X: y\r\n")


CODINGS = pytest.mark.parametrize("coding", ["length", "chunked"])


@CODINGS
def test_all_of_it_comes_and_nothing_of_the_next_request(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, DATA[:1_000_000], DATA[1_000_000:])
    each = upload(field)
    each.send(sent + NEXT)
    body = each.stream()
    pieces = list(iter(lambda: body.read(100_000), b""))
    assert b"".join(pieces) == DATA
    assert {len(piece) for piece in pieces} == {100_000}
    assert each.incoming.whole
    assert each.incoming.settle()
    assert each.behind() == NEXT
    assert each.progress


@CODINGS
def test_nothing_is_waited_for_beyond_what_is_asked_for(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, b"one\ntwo\nthree")
    each = upload(field, patience=Patience(silence=0))
    each.client.sendall(sent[: sent.index(b"three") + 3])
    body = each.stream()
    assert (body.readline(), body.read(2), body.readline()) == (b"one\n", b"tw", b"o\n")
    assert (body.read(1), body.read1(100)) == (b"t", b"hr")
    with pytest.raises(TooSlow):
        body.read(1)


@CODINGS
def test_what_was_kept_comes_first(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, DATA)
    each = upload(field)
    assert each.incoming.take(sent[:1_200_000]) == 1_200_000
    assert each.incoming.presses
    body = each.stream()
    each.send(sent[1_200_000:] + NEXT)
    assert body.read() == DATA
    assert each.behind() == NEXT


def test_no_more_is_taken_than_until_the_app_should_begin(upload: Uploading) -> None:
    incoming = upload(f"Content-Length: {len(DATA)}").incoming
    taken = 0
    while not incoming.presses:
        assert incoming.appetite <= 256 * 1024
        taken += incoming.take(DATA[taken : taken + incoming.appetite])
    assert taken == EARLY
    assert incoming.appetite == 256 * 1024, "where the app cannot begin"


def test_what_is_read_is_kept_no_longer(upload: Uploading) -> None:
    each = upload(f"Content-Length: {len(DATA)}")
    each.incoming.take(DATA[:EARLY])
    body = each.stream()
    each.send(DATA[EARLY:])
    assert each.uploads._kept == EARLY
    body.read(EARLY + 1)
    assert each.uploads._kept == 0
    assert body.read() == DATA[EARLY + 1 :]


@CODINGS
def test_it_has_the_whole_interface_of_a_file(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, LINES)
    each = upload(field)
    each.send(sent)
    (answer,) = interface({"wsgi.input": each.stream()}, lambda *_: lambda _: None)
    assert json.loads(answer) == [
        *("", "abc", "defg", "hi\n", "ABC", "DE", "F\n", "line\n"),
        *("more\n", "last"),
    ]


def test_an_empty_one(upload: Uploading) -> None:
    each = upload("Content-Length: 0")
    assert each.stream().read() == b""
    assert each.incoming.settle()


# What the app leaves


@CODINGS
@pytest.mark.parametrize("read", [0, 1, 1000, 100_000])
def test_a_small_rest_that_is_here_ends_with_the_response(
    upload: Uploading, coding: str, read: int
) -> None:
    field, sent = framed(coding, DATA[:100_000])
    each = upload(field)
    each.client.sendall(sent + NEXT)
    body = each.stream()
    assert body.read(read) == DATA[:read]
    assert each.incoming.settle()
    assert each.behind() == NEXT
    assert body.read() == DATA[read:100_000], "the app may still read it"


@CODINGS
def test_a_rest_that_has_not_come_does_not(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, DATA[:100_000])
    each = upload(field)
    each.client.sendall(sent[:-1])
    body = each.stream()
    assert not each.incoming.settle()
    each.client.sendall(sent[-1:])
    assert body.read() == DATA[:100_000], "the app may still read it"


@CODINGS
def test_a_large_rest_is_not_taken(upload: Uploading, coding: str) -> None:
    field, sent = framed(coding, DATA)
    each = upload(field)
    each.send(sent)
    each.stream().read(1000)
    assert not each.incoming.settle()
    assert not each.incoming.whole


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhelloX\r\n", b"0\r\nno colon\r\n\r\n"])
def test_a_malformed_rest_is_not_believed(upload: Uploading, rest: bytes) -> None:
    each = upload("Transfer-Encoding: chunked")
    each.client.sendall(b"3\r\nabc\r\n" + rest + NEXT)
    body = each.stream()
    assert body.read(3) == b"abc"
    assert not each.incoming.settle()
    with pytest.raises(ParseException):
        body.read()


def test_nothing_is_read_any_more_once_the_request_is_over(upload: Uploading) -> None:
    each = upload("Content-Length: 1000")
    body = each.stream()
    each.incoming.close()
    each.client.sendall(b"x" * 1000)
    with pytest.raises(Gone):
        body.read()
    assert each.behind()


# What may go wrong


@CODINGS
@pytest.mark.parametrize("how", ["close", "shutdown"])
def test_a_client_that_leaves_is_an_error_and_no_end(
    upload: Uploading, coding: str, how: str
) -> None:
    field, sent = framed(coding, DATA[:1000])
    each = upload(field)
    each.client.sendall(sent[:-1])
    body = each.stream()
    if how == "close":
        each.client.close()
    else:
        each.client.shutdown(socket.SHUT_WR)
    for _ in range(2):
        with pytest.raises(Gone):
            body.read()
    assert isinstance(each.incoming.failure, Gone)
    with pytest.raises(Gone):
        each.incoming.settle()


def test_a_client_that_resets(upload: Uploading) -> None:
    each = upload("Content-Length: 1000")
    each.client.sendall(b"x")
    each.conn.sock.send(b"never read")
    each.client.close()
    with pytest.raises(Gone):
        each.stream().read()


@pytest.mark.parametrize(
    "patience", [Patience(body=0.05, slowest=1e9), Patience(silence=0.05)], ids=["rate", "silence"]
)
@CODINGS
def test_a_client_that_stalls(upload: Uploading, coding: str, patience: Patience) -> None:
    field, sent = framed(coding, DATA[:1000])
    each = upload(field, patience=patience)
    each.client.sendall(sent[:-1])
    body = each.stream()
    began = time.monotonic()
    with pytest.raises(TooSlow):
        body.read()
    assert 0.05 <= time.monotonic() - began < DEADLINE


def test_a_worker_that_leaves_waits_less_long(
    upload: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a client that it waits for already."""
    monkeypatch.setattr("launcher.worker.connection.body_reader._LOOK", 0.01)
    each = upload("Content-Length: 1000")
    threading.Timer(0.05, setattr, [each, "silence", 0.1]).start()
    began = time.monotonic()
    with pytest.raises(TooSlow):
        each.stream().read()
    assert 0.1 <= time.monotonic() - began < DEADLINE


def test_only_waiting_for_the_client_counts(upload: Uploading) -> None:
    each = upload("Content-Length: 2000", patience=Patience(body=0.2, slowest=1e9, silence=0.2))
    each.client.sendall(DATA[:1000])
    body = each.stream()
    assert body.read(1000) == DATA[:1000]
    threading.Event().wait(0.25)  # the app takes its time
    threading.Timer(0.02, each.client.sendall, [DATA[1000:2000]]).start()
    assert body.read() == DATA[1000:2000]


@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_chunks_that_add_up_to_too_much(upload: Uploading, step: int) -> None:
    """Known from the line that announces the chunk: nothing of it is waited for."""
    sent = chunked(*[b"x" * 100] * 11)[: -len(b"x" * 100 + b"\r\n0\r\n\r\n")]
    each = upload("Transfer-Encoding: chunked", limit=1000)
    each.client.sendall(sent)
    body = each.stream()
    with pytest.raises(TooLarge):
        list(iter(lambda: body.read(step), b""))
    kept = upload("Transfer-Encoding: chunked", limit=1000).incoming
    with pytest.raises(TooLarge):
        list(map(kept.take, (sent[start : start + step] for start in range(0, len(sent), step))))


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nhello0\r\n\r\n", b"0\r\nX : y\r\n\r\n"])
def test_a_malformed_one_is_refused_without_waiting_for_more(
    upload: Uploading, body: bytes
) -> None:
    each = upload("Transfer-Encoding: chunked")
    each.client.sendall(body)
    with pytest.raises(ParseException):
        each.stream().read()
    assert isinstance(each.incoming.failure, ParseException)


def test_a_request_that_is_given_up_waits_no_longer(upload: Uploading) -> None:
    each = upload("Content-Length: 1000")
    body = each.stream()
    each.conn.abandoned = True
    with pytest.raises(Gone):
        body.read()


# Expect: 100-continue


def expecting(upload: Uploading) -> Upload:
    return upload("Content-Length: 5", "Expect: 100-continue")


def test_the_client_is_told_when_the_app_first_reads(upload: Uploading) -> None:
    each = expecting(upload)
    body = each.stream()
    each.client.setblocking(False)
    with pytest.raises(BlockingIOError):
        each.client.recv(1)
    threading.Timer(0.02, each.client.send, [b"hello"]).start()
    assert body.read(1) == b"h"
    assert body.read() == b"ello"
    assert each.client.recv(100) == CONTINUE


def test_a_client_that_does_not_wait_is_not_told(upload: Uploading) -> None:
    each = expecting(upload)
    each.client.sendall(b"hello")
    assert each.stream().read() == b"hello"
    each.conn.sock.shutdown(socket.SHUT_WR)
    assert each.client.recv(100) == b""


def test_nothing_is_told_once_the_response_has_begun(upload: Uploading) -> None:
    """A client would take it for a part of the response."""
    each = expecting(upload)
    body = each.stream()
    assert not each.incoming.settle()
    threading.Timer(0.02, each.client.send, [b"hello"]).start()
    assert body.read() == b"hello"
    each.conn.sock.shutdown(socket.SHUT_WR)
    assert each.client.recv(100) == b""


# No room to keep it


def test_what_finds_no_room_is_there_all_the_same(
    upload: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.worker.request.uploads.MOST_KEPT", 1000)
    each = upload("Content-Length: 3000")
    each.uploads = Uploads(0, 4, lambda _: None)
    each.incoming = Incoming(each.incoming.arrived, each.uploads)
    assert each.incoming.take(DATA[:900]) == 900
    assert not each.incoming.presses
    assert each.incoming.take(DATA[900:1900]) == 1000
    assert each.incoming.presses
    body = each.stream()
    each.client.sendall(DATA[1900:3000] + NEXT)
    assert body.read() == DATA[:3000]
    assert each.behind() == NEXT
