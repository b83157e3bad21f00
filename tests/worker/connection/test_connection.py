"""Looking ahead at a request, by who may not be the one to serve it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from launcher.worker.connection.connection import Connection
from launcher.worker.connection.sockets import Socket

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


def test_an_app_that_closes_the_socket_ends_the_connection_and_keeps_its_descriptor() -> None:
    client, ours = socket.socketpair()
    with client:
        conn = Connection(Socket(fileno=ours.detach()), 1, 0, "127.0.0.1", 5)
        with conn.sock:
            pass
        assert client.recv(1) == b""
        assert conn.sock.fileno() == conn.fd
        with conn.sock.dup() as another:
            assert another.fileno() != conn.fd
        assert another.fileno() == -1
        conn.release()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(conn.fd)


def test_what_is_lent_is_taken_over_once_it_is_used(pair: Pair) -> None:
    client, conn = pair
    assert not conn.taken_over
    conn.lend()
    assert conn.lent
    assert "LentSocket" in f"{conn.lent}"
    assert not conn.taken_over
    conn.lent.sendall(b"HTTP/1.1 101 ")
    assert conn.taken_over
    assert client.recv(100) == b"HTTP/1.1 101 "
    conn.forget_request()
    assert not conn.taken_over
