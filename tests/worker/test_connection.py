"""Looking ahead at a request, by who may not be the one to serve it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from launcher.worker.connection import Connection

Pair = tuple[socket.socket, Connection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    client, ours = socket.socketpair()
    with client, ours:
        yield client, Connection(ours, 1, 0, "127.0.0.1", 5)


def test_what_was_seen_ahead_is_told_once(pair: Pair) -> None:
    client, conn = pair
    client.send(b"one")
    conn.look_ahead(100)
    client.send(b"two")
    assert conn.seen_ahead() == b"one"
    assert conn.seen_ahead() == b""
    assert conn.peek(100) == b"onetwo", "it is still there"


def test_what_was_served_meanwhile_is_not_taken_for_another_request(pair: Pair) -> None:
    client, conn = pair
    client.send(b"one")
    conn.look_ahead(100)
    conn.drop(3)
    assert conn.seen_ahead() == b""


def test_nothing_there_yet_or_no_more(pair: Pair) -> None:
    client, conn = pair
    conn.look_ahead(100)
    assert conn.seen_ahead() == b""
    client.shutdown(socket.SHUT_WR)
    conn.look_ahead(100)
    assert conn.seen_ahead() == b""


def test_it_stands_a_connection_that_is_closed_meanwhile(pair: Pair) -> None:
    _, conn = pair
    conn.release()
    conn.look_ahead(100)
    assert conn.seen_ahead() == b""
