"""Which answers of a worker that leaves are the last on their connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.ipc.messages import Drain, Retire, Returned
from launcher.ipc.records import encode
from launcher.policy.serving.patience import Patience
from launcher.worker.exchange.closing import Closing, told_to_close
from launcher.worker.serving.outbox import Held
from launcher.worker.serving.service import Service
from tests.support import eventually
from tests.worker.threads.test_crew import DEADLINE, REQUEST, Company

POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize(
    ("secure", "kept", "when_it_leaves", "when_all_stop"),
    [
        (False, True, False, True),
        (True, True, True, True),
        (False, False, True, True),
        (True, False, True, True),
    ],
)
def test_what_ends_when(
    secure: bool, kept: bool, when_it_leaves: bool, when_all_stop: bool
) -> None:
    conn: Any = SimpleNamespace(secure=secure, kept=kept)
    closing = Closing()
    assert not closing.ends(conn)
    closing.end_what_cannot_travel()
    assert closing.ends(conn) is when_it_leaves
    closing.end_all()
    assert closing.ends(conn) is when_all_stop
    closing.end_what_cannot_travel()
    assert closing.ends(conn) is when_all_stop


def test_an_answer_that_was_ready_before_is_told_to_close_once() -> None:
    keeps = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n\r\nConnection: keep-alive\r\n"
    closes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\r\nConnection: keep-alive\r\n"
    assert told_to_close(keeps) == closes
    assert told_to_close(closes[:40]) == closes[:40]


class Gated(Company):
    """Its app begins, sends what it has if it streams, and ends when it is let go on."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.streams = False
        super().__init__()

    def app(self, environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        if self.streams:
            start("200 OK", [])
            yield b"first"
        self.began.set()
        assert self.go_on.wait(DEADLINE)
        if not self.streams:
            start("200 OK", [("Content-Length", "2")])
        yield b"ok"

    def stop(self) -> None:
        """Tell all, as the primary does, and wait until it was heard."""
        assert self.channel.send(encode(Drain()))
        eventually(lambda: self.crew._leaving.closing.begun)


@pytest.fixture
def company() -> Iterator[Gated]:
    company = Gated()
    yield company
    company.go_on.set()
    company.crew.retire(final=True)
    eventually(lambda: finished(company))
    company.close()


def finished(company: Company) -> bool:
    company.crew.expire(time.monotonic())
    return company.crew.leave_if_idle()


def answer(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith((b"\r\n\r\nok", b"0\r\n\r\n")):
        piece = client.recv(1000)
        assert piece, data
        data += piece
    return data


def closes(client: socket.socket) -> bool:
    return b"\r\nConnection: close\r\n" in answer(client)


@pytest.mark.parametrize("request_", [REQUEST, POST], ids=["hot path", "reference path"])
def test_what_began_before_the_order_is_the_last_all_the_same(
    company: Gated, request_: bytes
) -> None:
    with company.deal(1, request_) as client:
        assert company.began.wait(DEADLINE)
        company.stop()
        company.go_on.set()
        assert closes(client)
        assert client.recv(1) == b""


def test_until_it_retires_it_serves_who_comes_and_who_is_there(company: Gated) -> None:
    company.go_on.set()
    with company.deal(1) as old:
        assert not closes(old)
        company.stop()
        with company.deal(2) as new:
            assert closes(new)
        assert len(company.crew._parked) >= 1, "nobody is closed for being idle"
        old.sendall(REQUEST)
        assert closes(old)
        assert not any(isinstance(message, Returned) for message in company.said)


def test_who_was_promised_another_answer_is_heard_for_a_while(company: Gated) -> None:
    company.go_on.set()
    with company.deal(1) as asks, company.deal(2) as silent:
        assert not closes(asks)
        assert not closes(silent)
        retired = time.monotonic()
        assert company.channel.send(encode(Retire(final=True)))
        eventually(lambda: company.crew.retiring)
        assert not finished(company)
        asks.sendall(REQUEST)
        assert closes(asks)
        asks.close()
        eventually(lambda: finished(company))
        patience = company.crew._service.patience
        assert time.monotonic() - retired >= patience.last_words
        assert silent.recv(1) == b""


def test_a_stream_that_has_promised_already_is_heard_behind_its_end(company: Gated) -> None:
    company.streams = True
    with company.deal(1) as client:
        assert company.began.wait(DEADLINE)
        assert company.channel.send(encode(Retire(final=True)))
        eventually(lambda: company.crew.retiring)
        company.go_on.set()
        assert not closes(client), "its head had left before the order came"
        company.streams = False
        client.sendall(REQUEST)
        assert closes(client)


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """Of a crew that is made after this."""
    patience = replace(Service.patience, last_words=0.1, last_silence=0.4)
    monkeypatch.setattr(Service, "patience", patience)
    return patience


@pytest.mark.parametrize("size", [4, 100_000], ids=["in the kernel", "taken out of it"])
def test_a_body_that_is_on_its_way_is_waited_for_unless_it_stops(
    little_patience: Patience, company: Gated, size: int
) -> None:
    company.go_on.set()
    body = b"x" * size
    begun = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size + body[:2]
    with company.deal(1, begun) as goes_on, company.deal(2, begun) as stalls:
        eventually(
            lambda: [conn.started > 0 for conn in company.crew._parked.values()] == [True] * 2
        )
        retired = time.monotonic()
        assert company.channel.send(encode(Retire(final=True)))
        eventually(lambda: time.monotonic() > retired + 2 * little_patience.last_words)
        assert not finished(company)
        goes_on.sendall(body[2:])
        assert closes(goes_on)
        goes_on.close()
        eventually(lambda: finished(company))
        assert stalls.recv(100).startswith(b"HTTP/1.1 408 ")


def test_what_waits_in_the_outbox_says_so_too(company: Gated) -> None:
    company.go_on.set()
    running, pad = company.crew._running, company.crew._staff.seats[0].pad
    with company.deal(1) as client:
        promised = answer(client)
        (conn,) = eventually(lambda: [*company.crew._parked.values()])
        assert company.crew._parking.claim(conn)
        client.sendall(REQUEST)
        eventually(lambda: conn.peek(len(REQUEST)) == REQUEST)
        conn.held = promised
        company.crew._leaving.closing.end_all()
        running.outbox.hold(Held(conn, REQUEST, True, False, True, 0))
        running.send_held(pad)
        assert closes(client)
        assert client.recv(1) == b""
