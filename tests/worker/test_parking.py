"""Connections that wait, and descriptors that come to mean others."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking


class Streets:
    """New connections, and their clients."""

    def __init__(self) -> None:
        self.parking = Parking()
        self.clients: list[socket.socket] = []
        self.connections: list[Connection] = []

    def connection(self) -> Connection:
        ours, client = socket.socketpair()  # ours gets the lowest number that is free
        conn = Connection(ours, len(self.clients), 0, "127.0.0.1", 5)
        self.clients.append(client)
        self.connections.append(conn)
        return conn

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for conn in self.connections:
            conn.release()


@pytest.fixture
def streets() -> Iterator[Streets]:
    streets = Streets()
    yield streets
    streets.close()


def test_whoever_claims_a_connection_has_it_alone(streets: Streets) -> None:
    conn = streets.connection()
    streets.parking.park(conn)
    assert streets.parking.claim(conn)
    assert not streets.parking.claim(conn)


def test_a_claim_does_not_take_who_has_the_descriptor_now(streets: Streets) -> None:
    """The main thread goes through the parked, while the others close one and take another."""
    parking, closed = streets.parking, streets.connection()
    parking.park(closed)
    assert parking.claim(closed)
    parking.forget(closed)
    closed.release()
    other = streets.connection()
    assert other.fd == closed.fd
    parking.enter(other, first=False)
    parking.ready.clear()  # somebody looks, just as it is claimed by mistake
    assert not parking.claim(closed)
    assert parking.parked == {other.fd: other}
    assert parking.ready.pop() == (other.fd, 0), "so somebody looks again"
    assert parking.wait(), "and whoever waits already is told"
