"""The one table of who has a connection: both directions of it, and the count, always agree."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from launcher.primary.connections.connections import Connections
from tests.fakes import FakeReactor, FakeWorker


class Table:
    """Room for two connections, and two workers."""

    def __init__(self, stack: ExitStack) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.connections = Connections(self.reactor, 2)
        self.first, self.second = FakeWorker(1, stack), FakeWorker(2, stack)
        self.clients = [socket.socketpair() for _ in range(2)]
        for pair in self.clients:
            stack.enter_context(pair[0])
        self.kept = [
            self.connections.add(theirs.detach(), 0, "", 0, False) for _, theirs in self.clients
        ]
        for connection in self.kept:
            stack.callback(self.connections.close, connection)


@pytest.fixture
def table() -> Iterator[Table]:
    with ExitStack() as stack:
        yield Table(stack)


def test_what_is_given_can_be_taken(table: Table) -> None:
    one, other = table.kept
    for connection in table.kept:
        table.connections.give(connection, table.first)
    assert table.connections.of(table.first) == [one, other]
    table.connections.take(one)
    table.connections.take(one)
    assert table.connections.worker_of(one) is None
    assert table.connections.worker_of(other) is table.first
    assert (table.connections.of(table.first), table.first.held) == ([other], 1)
    table.connections.give(one, table.second)
    assert (table.connections.of(table.second), table.second.held) == ([one], 1)


def test_one_takes_only_from_the_worker_that_has_it(table: Table) -> None:
    one, _ = table.kept
    table.connections.give(one, table.first)
    assert table.connections.take_from(table.second, one.serial) is None
    assert table.connections.take_from(table.first, 99) is None
    assert table.connections.take_from(table.first, one.serial) is one
    assert table.first.held == 0


def test_all_that_a_dead_worker_had_is_taken_and_it_is_forgotten(table: Table) -> None:
    for connection in table.kept:
        table.connections.give(connection, table.first)
    assert table.connections.take_all(table.first) == table.kept
    assert table.connections.take_all(table.first) == []
    assert table.first.held == 0
    assert len(table.connections) == 2, "they are still kept"


def test_one_that_ends_is_taken_from_its_worker_and_makes_room(table: Table) -> None:
    told: list[str] = []
    table.connections.on_room = lambda: told.append("room")
    one, other = table.kept
    table.connections.give(one, table.first)
    assert table.connections.full
    table.connections.close(one)
    table.connections.close(one)
    assert (table.first.held, table.connections.of(table.first)) == (0, [])
    assert table.connections.get(one.serial) is None
    assert told == ["room"], "once, at the crossing"
    table.connections.close(other)
    assert told == ["room"]


def test_one_whose_client_hangs_up_is_forgotten(table: Table) -> None:
    one, other = table.kept
    table.connections.give(one, table.first)
    table.clients[0][0].close()
    table.reactor.look()
    assert table.connections.get(one.serial) is None
    assert table.connections.get(other.serial) is other
    assert table.first.held == 0
