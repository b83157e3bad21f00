"""A crew at work in this process: connections are dealt to it, and its main thread is the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from launcher.config.settings import Settings
from launcher.ipc.channel import Channel
from launcher.ipc.messages import Deal, Deals, Message, Returned
from launcher.ipc.records import encode
from launcher.ipc.scoreboard import Scoreboard, create
from launcher.worker.threads.crew import Crew
from tests.support import eventually
from tests.worker.threads.tools import stop_watching

DEADLINE = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
THREADS = 2

new_config: Any = Config  # gunicorn has no types
new_logger: Any = Logger


class Company:
    """A crew, its app, and the primary's end of its channel."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.closing: Callable[[], object] = lambda: None
        """What the app does when all it had to send is sent."""
        self._kept: list[socket.socket] = []
        self.channel, sock = Channel.pair()
        settings = Settings(threads=THREADS, timeout=1)
        board = Scoreboard(create(THREADS), THREADS)
        orders: Any = SimpleNamespace(
            settings=settings, board=board, row=board.row(0), addresses=["127.0.0.1:80"]
        )
        cfg = new_config()
        worker: Any = SimpleNamespace(
            cfg=cfg,
            wsgi=self.app,
            log=new_logger(cfg),
        )
        line: Any = SimpleNamespace(tell=self.said.append, wake=lambda: None)
        self.crew = Crew(worker, orders, line, Channel(sock))
        self.crew.start()

    def app(self, environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", "2")])
        yield b"ok"
        self.closing()

    def hold_up(self) -> tuple[threading.Event, threading.Event]:
        """Have the app wait behind its response: told that it is there, and to go on."""
        sent, go_on = threading.Event(), threading.Event()

        def closing() -> None:
            sent.set()
            go_on.wait(DEADLINE)

        self.closing = closing
        return sent, go_on

    def deal(self, serial: int, request: bytes = REQUEST) -> socket.socket:
        """A client that has asked already, and whose connection is the crew's."""
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname(), timeout=DEADLINE)
        ours, _ = listener.accept()
        listener.close()
        client.sendall(request)
        deal = Deal(serial, 0, 0, 0, 5, False, 0.0, "127.0.0.1")
        assert self.channel.send(encode(Deals([deal])), [ours.fileno()])
        self._kept.append(ours)  # as the primary does
        return client

    def close(self) -> None:
        """Close what is kept."""
        stop_watching(self.crew._lead)
        for sock in self._kept:
            sock.close()


@pytest.fixture
def company() -> Iterator[Company]:
    company = Company()
    yield company
    company.crew.retire(final=True)
    eventually(company.crew.leave_if_idle)
    company.close()


def answered(client: socket.socket) -> bool:
    return client.recv(1000).endswith(b"\r\n\r\nok")


def in_a_minute() -> int:
    return time.monotonic_ns() + 60_000_000_000


def test_who_has_finished_gives_back_what_it_is_dealt_still(company: Company) -> None:
    with company.deal(1) as client:
        assert answered(client)
        company.crew.retire(final=False)
        eventually(company.crew.leave_if_idle)
        assert company.said == [Returned(1, 0.0)]
    with company.deal(2) as client:
        eventually(lambda: company.said[1:] == [Returned(2, 0.0)])
        assert company.crew.leave_if_idle()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_a_response_that_is_complete_as_its_time_is_up_costs_nothing(company: Company) -> None:
    sent, go_on = company.hold_up()
    with company.deal(1) as client:
        assert sent.wait(DEADLINE)
        assert company.crew.end_overdue(in_a_minute()) is None
        go_on.set()
        assert answered(client)
        company.closing = lambda: None
        client.sendall(REQUEST)
        assert answered(client)


def test_what_goes_on_behind_its_response_is_ended_all_the_same(company: Company) -> None:
    sent, go_on = company.hold_up()
    with company.deal(1):
        assert sent.wait(DEADLINE)
        assert company.crew.end_overdue(in_a_minute()) is None
        assert company.crew.end_overdue(in_a_minute()) == "GET / took longer than 1 s"
        go_on.set()


def test_a_request_is_not_given_up_once_it_has_ended(company: Company) -> None:
    running, pad = company.crew._running, company.crew._staff.seats[0].pad
    ran: list[Any] = []
    seats = company.crew._staff.seats
    company.closing = lambda: ran.extend(seat.running for seat in seats)
    with company.deal(1) as client:
        assert answered(client)
        eventually(lambda: not any(seat.running for seat in seats))
        (job,) = filter(None, ran)
        assert running.abandon(job, pad, 0) is None
        client.sendall(REQUEST)
        assert answered(client)
