"""What the kernel says was written to and consumed from a connection."""

from __future__ import annotations

import socket
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from launcher.policy.rescue import Figures
from launcher.primary.rescue import accounting
from launcher.primary.rescue.accounting import figures
from tests.support import eventually

Pair = tuple[socket.socket, socket.socket]

queue = accounting._queue


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The client's end and ours, over loopback."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        yield client, stack.enter_context(listener.accept()[0])


def arrive(pair: Pair, data: bytes) -> None:
    """The client sends this; it is here on return."""
    client, ours = pair
    expected = queue(ours.fileno(), termios.FIONREAD) + len(data)
    client.sendall(data)
    eventually(lambda: queue(ours.fileno(), termios.FIONREAD) == expected)


def clog(pair: Pair) -> int:
    """Write until nothing more goes in; how many bytes that was."""
    _, ours = pair
    ours.setblocking(False)
    written = 0
    while True:
        try:
            written += ours.send(b"x" * 65536)
        except BlockingIOError:
            return written


def test_nothing_has_happened(pair: Pair) -> None:
    assert figures(pair[1].fileno()) == Figures(written=0, consumed=0)


def test_what_waits_to_be_read_is_not_consumed(pair: Pair) -> None:
    arrive(pair, b"x" * 100)
    assert figures(pair[1].fileno()) == Figures(0, 0)
    pair[1].recv(30)
    assert figures(pair[1].fileno()) == Figures(0, 30)


def test_what_waits_to_be_sent_is_written(pair: Pair) -> None:
    written = clog(pair)
    assert figures(pair[1].fileno()) == Figures(written, 0)


def test_the_end_of_the_client_s_side_is_no_byte(pair: Pair) -> None:
    arrive(pair, b"x" * 100)
    pair[1].recv(100)
    pair[0].shutdown(socket.SHUT_WR)
    assert pair[1].recv(1) == b""
    assert figures(pair[1].fileno()) == Figures(0, 100)


def test_once_it_is_being_closed_nothing_is_known(pair: Pair) -> None:
    pair[1].shutdown(socket.SHUT_WR)
    assert figures(pair[1].fileno()) is None


def test_a_unix_socket_has_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert figures(ours.fileno()) is None


def test_what_arrives_between_two_looks_is_not_consumed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(pair, b"x" * 100)
    pair[1].recv(100)
    between_looks(monkeypatch, lambda: arrive(pair, b"y" * 50))
    assert figures(pair[1].fileno()) == Figures(0, 100)


def test_what_the_client_takes_between_two_looks_is_still_written(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = clog(pair)
    client, ours = pair

    def take() -> None:
        before = queue(ours.fileno(), termios.TIOCOUTQ)
        client.recv(written, socket.MSG_WAITALL)
        eventually(lambda: queue(ours.fileno(), termios.TIOCOUTQ) < before)

    between_looks(monkeypatch, take)
    assert figures(ours.fileno()) == Figures(written, 0)


def between_looks(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something happen once, after the first count and before what is in the queues."""
    acts = [act]

    def late(fd: int, request: int) -> int:
        if acts:
            acts.pop()()
        return queue(fd, request)

    monkeypatch.setattr(accounting, "_queue", late)
