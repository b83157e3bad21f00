"""What is late is ended: pools and workers without a process, and a clock that jumps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from launcher.config.settings import Settings
from launcher.primary.processes.deadlines import Deadlines
from launcher.primary.processes.generation import Terms
from tests.fake_cluster import FakeGeneration
from tests.fakes import FakeReactor, FakeWorker

TERMS = Terms(Settings(boot_timeout=30.0, graceful_timeout=7.0))


class Scene:
    """A pool and a worker of it."""

    def __init__(self, stack: ExitStack) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.generation = FakeGeneration(1, TERMS, stack)
        self.worker = FakeWorker(1, stack)
        self.worker.pid = 10_001
        self.deadlines = Deadlines(self.reactor)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_a_pool_has_the_boot_timeout_to_load_the_app(scene: Scene) -> None:
    scene.deadlines.to_load(scene.generation)
    scene.reactor.advance(29.999)
    assert scene.generation.signals == []
    scene.reactor.advance(0.001)
    assert scene.generation.signals == [signal.SIGKILL]
    assert scene.generation.error == "the app was not loaded within 30 s"


def test_a_worker_has_it_to_be_ready(scene: Scene) -> None:
    told: list[str] = []
    scene.deadlines.to_be_ready(scene.worker, scene.generation, told.append)
    scene.reactor.advance(29.999)
    assert told == []
    scene.reactor.advance(0.001)
    assert told == ["was not ready within 30 s"]


def test_one_that_is_ready_is_not_late(scene: Scene) -> None:
    told: list[str] = []
    scene.deadlines.to_be_ready(scene.worker, scene.generation, told.append)
    scene.worker.ready(scene.reactor.now)
    scene.reactor.advance(100)
    assert told == []


def test_a_worker_that_does_not_leave_is_killed(scene: Scene) -> None:
    scene.deadlines.to_leave(scene.worker, scene.generation, 7.0)
    scene.reactor.advance(6.999)
    assert scene.worker.signals == []
    scene.reactor.advance(0.001)
    assert scene.worker.signals == [signal.SIGKILL]
    assert scene.generation.signals == []


def test_and_its_pool_if_that_has_not_even_forked_it(scene: Scene) -> None:
    scene.worker.pid = None
    scene.deadlines.to_leave(scene.worker, scene.generation, 7.0)
    scene.reactor.advance(7)
    assert scene.generation.signals == [signal.SIGKILL]


def test_a_worker_that_is_to_leave_need_not_be_ready_any_more(scene: Scene) -> None:
    told: list[str] = []
    scene.deadlines.to_be_ready(scene.worker, scene.generation, told.append)
    scene.deadlines.to_leave(scene.worker, scene.generation, 100.0)
    scene.reactor.advance(99)
    assert (told, scene.worker.signals) == ([], [])


def test_a_pool_that_does_not_go_is_killed(scene: Scene) -> None:
    scene.deadlines.to_end(scene.generation)
    scene.reactor.advance(6.999)
    assert scene.generation.signals == []
    scene.reactor.advance(0.001)
    assert scene.generation.signals == [signal.SIGKILL]


def test_but_has_a_second_at_least(scene: Scene) -> None:
    with ExitStack() as stack:
        hasty = FakeGeneration(2, Terms(Settings(graceful_timeout=0.0)), stack)
        scene.deadlines.to_end(hasty)
        scene.reactor.advance(0.999)
        assert hasty.signals == []
        scene.reactor.advance(0.001)
        assert hasty.signals == [signal.SIGKILL]
