"""What is accepted, when it is not, and what errors of accept(2) come to."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from launcher.primary.connections.acceptor import Acceptor
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.listeners import Listener
from tests.fakes import FakeReactor


class Socket(socket.socket):
    """A listener whose accept(2) fails as the test says."""

    failures: list[int]

    def _accept(self) -> tuple[int, Any]:
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super()._accept()  # type: ignore[misc, no-any-return]


class Door:
    """An acceptor with one listener, and what it passes on. It stands for the dispatcher too."""

    def __init__(self, stack: ExitStack, room: int = 100) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.listener = Socket(socket.AF_INET, socket.SOCK_STREAM)
        stack.enter_context(self.listener)
        self.listener.failures = []
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.connections = Connections(self.reactor, room)
        self.batches: list[list[Connection]] = []
        self.room: list[bool] = []
        """What `Room.make` was asked: whether there was none left."""
        self.full = False
        self.on_room = lambda: None
        listener: Any = Listener(self.listener)
        dispatcher: Any = self
        self.acceptor = Acceptor(
            self.reactor, [listener], self.connections, dispatcher, self.room.append
        )
        self._stack = stack
        stack.callback(self.close_all)

    def admit_all(self, connections: list[Connection]) -> None:
        if connections:
            self.batches.append([*connections])

    def come(self, number: int) -> None:
        for _ in range(number):
            client = socket.create_connection(self.listener.getsockname())
            self._stack.enter_context(client)

    def accepted(self) -> int:
        """How many in all, once all that has come was looked at."""
        self.reactor.look()
        return sum(map(len, self.batches))

    def close_all(self) -> None:
        for batch in self.batches:
            for connection in batch:
                self.connections.close(connection)


@pytest.fixture
def door() -> Iterator[Door]:
    with ExitStack() as stack:
        yield Door(stack)


def test_what_has_come_is_passed_on_together(door: Door) -> None:
    door.come(3)
    assert door.accepted() == 0, "it has not started"
    door.acceptor.start()
    assert door.accepted() == 3
    assert [len(batch) for batch in door.batches] == [3]
    first = door.batches[0][0]
    assert (first.host, first.exact, first.listener) == ("127.0.0.1", True, 0)
    assert door.room == [False]


def test_other_events_have_their_turn_after_sixteen(door: Door) -> None:
    door.acceptor.start()
    door.come(20)
    door.reactor.look()
    assert [len(batch) for batch in door.batches] == [16]
    door.reactor.look()
    assert [len(batch) for batch in door.batches] == [16, 4]


def test_what_died_before_it_was_accepted_holds_up_no_other(door: Door) -> None:
    door.acceptor.start()
    door.come(2)
    door.listener.failures = [errno.ECONNABORTED, errno.EPROTO]
    assert door.accepted() == 2
    assert door.room == [False]


def test_without_descriptors_it_pauses_for_a_tenth_of_a_second(door: Door) -> None:
    door.acceptor.start()
    door.come(1)
    door.listener.failures = [errno.EMFILE]
    assert door.accepted() == 0
    assert door.room == [True, False]
    assert door.accepted() == 0, "the listener is readable all the time: that would spin"
    door.reactor.advance(0.0999)
    assert door.accepted() == 0
    door.reactor.advance(0.0001)
    assert door.accepted() == 1


def test_where_the_table_is_full_it_waits_until_there_is_room() -> None:
    with ExitStack() as stack:
        door = Door(stack, room=2)
        door.acceptor.start()
        door.come(4)
        assert door.accepted() == 2
        assert True in door.room
        door.reactor.advance(10)
        assert door.accepted() == 2
        door.connections.close(door.batches[0][0])
        assert door.accepted() == 3


def test_where_the_queue_is_full_it_looks_again_ten_times_a_second(door: Door) -> None:
    """Of requests that wait in workers the primary is not told when they are fewer."""
    door.acceptor.start()
    door.full = True
    door.come(1)
    assert door.accepted() == 0
    door.reactor.advance(1)
    assert door.accepted() == 0
    door.full = False
    door.reactor.advance(0.1)
    assert door.accepted() == 1


def test_at_the_end_the_backlog_is_taken_and_then_nothing(door: Door) -> None:
    door.acceptor.start()
    door.come(20)
    door.acceptor.drain()
    assert sum(map(len, door.batches)) == 20
    door.come(1)
    door.reactor.advance(1)
    assert door.accepted() == 20
