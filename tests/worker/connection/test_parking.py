"""Connections that wait, and descriptors that come to mean others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

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


class Raced(Connection):
    """Another thread does something right behind a look at ``missed``."""

    __slots__ = ("_missed", "race")

    race: Callable[[], object]

    @property
    def missed(self) -> bool:
        found = self._missed
        race, self.race = self.race, lambda: None
        race()
        return found

    @missed.setter
    def missed(self, value: bool) -> None:
        self._missed = value


def raced(streets: Streets) -> Raced:
    """A connection that has been parked before, and is in a thread's hands."""
    ours, client = socket.socketpair()
    conn = Raced(ours, 9, 0, "127.0.0.1", 5)
    conn.race = lambda: None
    streets.clients.append(client)
    streets.connections.append(conn)
    streets.parking.park(conn)
    assert streets.parking.claim(conn)
    return conn


@pytest.mark.parametrize("again", [False, True])
def test_an_event_that_comes_as_a_connection_is_parked_is_looked_at(
    streets: Streets, again: bool
) -> None:
    """The thread that takes the event finds nothing parked, and leaves word at the worst moment."""
    parking, conn = streets.parking, raced(streets)
    taken = []

    def take() -> None:
        streets.clients[-1].send(b"x")
        (event,) = parking.take()
        taken.append(event[0])
        if parking.parked.pop(conn.fd, None) is None:
            parking.claim_missed(conn.fd)

    conn.race = take
    if again:
        parked = parking.park_again(conn)
        assert parked == (conn.fd not in parking.parked), "its own, or the thread's that took it"
    else:
        parking.park(conn)
        assert [fd for fd, _ in parking.take()] == [conn.fd], "the kernel reports it again"
    assert taken == [conn.fd]
