"""Which responses stay on the hot path."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from launcher.worker.exchange.exchange import Exchange
from tests.support import eventually
from tests.worker.threads.test_crew import DEADLINE, REQUEST, Company

Fields = list[tuple[str, str]]


@pytest.fixture
def fell_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each response that did not stay there."""
    lines: list[str] = []
    reference: Any = Exchange.reference

    def noting(*arguments: Any) -> Any:
        lines.append("fell back")
        return reference(*arguments)

    monkeypatch.setattr(Exchange, "reference", noting)
    return lines


class Answers(Company):
    """A company whose app answers as it is told."""

    def __init__(self) -> None:
        self.status, self.fields = "200 OK", Fields()
        self.body: Callable[[], Iterable[bytes]] = list
        super().__init__()

    def app(self, environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        start(self.status, self.fields)
        return self.body()


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.crew.retire(final=True)
    eventually(answers.crew.leave_if_idle)
    answers.close()


@pytest.fixture
def client(answers: Answers, fell_back: list[str]) -> Iterator[socket.socket]:
    with answers.deal(1) as client:
        while not client.recv(1000).endswith(b"\r\n\r\n"):
            pass
        fell_back.clear()
        yield client


@pytest.mark.parametrize(
    "body", [lambda: [b"ok"], lambda: (b"ok",), lambda: [b"", b"ok"][1:]], ids=["list", "tuple", ""]
)
def test_one_piece_is_counted_there(
    answers: Answers, client: socket.socket, fell_back: list[str], body: Callable[[], Any]
) -> None:
    answers.body = body
    for _ in range(3):
        client.sendall(REQUEST)
        received = client.recv(1000)
        assert b"\r\nContent-Length: 2\r\n\r\nok" in received
    assert fell_back == []


@pytest.mark.parametrize("body", [lambda: [b"o", b"k"], lambda: iter([b"ok"])])
def test_more_pieces_are_not(
    answers: Answers, client: socket.socket, fell_back: list[str], body: Callable[[], Any]
) -> None:
    answers.body = body
    client.sendall(REQUEST)
    client.settimeout(DEADLINE)
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += client.recv(1000)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in received
    assert fell_back == ["fell back"]
