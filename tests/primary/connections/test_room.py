"""Where descriptors are few, idle connections are closed to make room for new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from launcher.errors import LauncherError
from launcher.ipc.messages import Shed
from launcher.primary.connections.room import Room, require_descriptors
from tests.fakes import FakeReactor, FakeWorker


class Table:
    """Of connections, of which only the number matters."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def __len__(self) -> int:
        return self.count

    @property
    def full(self) -> bool:
        return self.count >= self.limit


class Scene:
    """Two workers, room for 160 connections."""

    def __init__(self, stack: ExitStack) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.table = Table(160)
        table: Any = self.table
        self.room = Room(self.reactor, table, 256)
        self.workers = [FakeWorker(number, stack) for number in (1, 2)]
        self.room.workers = self.workers

    def have(self, *held: int) -> None:
        for worker, number in zip(self.workers, held, strict=True):
            worker.held = number
        self.table.count = sum(held)

    def asked(self) -> Sequence[Sequence[object]]:
        return [worker.heard() for worker in self.workers]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_nothing_is_asked_while_a_sixteenth_is_free(scene: Scene) -> None:
    scene.have(100, 50)
    scene.room.make(none_left=False)
    assert scene.asked() == [[], []]


def test_then_workers_are_asked_in_proportion_until_an_eighth_is_free(scene: Scene) -> None:
    scene.have(114, 38)
    scene.room.make(none_left=False)
    assert scene.asked() == [[Shed(9)], [Shed(3)]]


def test_they_are_asked_again_a_tenth_of_a_second_later(scene: Scene) -> None:
    scene.have(152, 0)
    scene.room.make(none_left=False)
    scene.room.make(none_left=False)
    assert scene.asked() == [[Shed(12)], []], "one with none is not asked"
    scene.reactor.advance(0.0999)
    assert scene.asked() == [[], []]
    scene.reactor.advance(0.0001)
    assert scene.asked() == [[Shed(12)], []]
    scene.have(140, 0)
    scene.reactor.advance(1)
    assert scene.asked() == [[], []]


def test_where_the_limit_is_met_sooner_than_was_to_be_expected_some_go(scene: Scene) -> None:
    scene.have(32, 32)
    scene.room.make(none_left=True)
    assert scene.asked() == [[Shed(16)], [Shed(16)]]


def test_it_is_told_once_and_once_that_it_is_over(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    scene.have(158, 0)
    for _ in range(5):
        scene.room.make(none_left=False)
        scene.reactor.advance(0.2)
    scene.have(130, 0)
    scene.reactor.advance(2)
    told = capfd.readouterr().err
    assert told.count("158 connections, and no room for more with 256 descriptors") == 1
    assert "there is room" not in told
    scene.have(100, 0)
    scene.reactor.advance(2)
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["there is room for connections again"]
    scene.have(158, 0)
    scene.room.make(none_left=False)
    assert capfd.readouterr().err.count("158 connections, and no room for more") == 1


def test_too_few_descriptors_are_refused() -> None:
    require_descriptors(256, 2, 1)
    with pytest.raises(LauncherError, match="64 descriptors are too few for 4 workers"):
        require_descriptors(64, 4, 1)
