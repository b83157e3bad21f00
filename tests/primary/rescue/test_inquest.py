"""What becomes of the requests of a dead worker, by how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack

import pytest

from launcher.policy.blame import MOST_RERUNS
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.exits import crashed
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.rescue.inquest import Inquest
from launcher.primary.rescue.trial import Trial
from tests.fakes import FakeReactor, FakeWorker, answer, clients

EXITED, KILLED, SEGFAULT = 7 << 8, int(signal.SIGKILL), int(signal.SIGSEGV)
"""As from wait(2)."""


class Scene:
    """Workers that die, and what was done with their requests."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.connections = Connections(self.reactor, 1000)
        self.clients = stack.enter_context(clients(self.connections))
        self.at_once: list[Connection] = []
        self.apart: list[Connection] = []
        self.condemned: list[Connection] = []
        self.room = 1000
        """For so many suspects there is a worker."""
        trial = Trial(
            self.reactor,
            self.connections,
            self.at_once.append,
            self._deal_apart,
            self.condemned.append,
            30.0,
        )
        self.inquest = Inquest(
            self.reactor, self.connections, self.at_once.append, self.condemned.append, trial
        )
        self._workers = 0

    def died(self, *running: tuple[Connection, float], posts: int = 0) -> FakeWorker:
        """A worker died that ran these, each at that age, and so many that cannot run again."""
        self._workers += 1
        worker = FakeWorker(self._workers, self.stack)
        self.at_once.clear()
        self.apart.clear()
        self.inquest.open(worker, running, len(running) + posts)
        return worker

    def _deal_apart(
        self, connection: Connection, taken: Collection[WorkerHandle], _begins: bool
    ) -> bool:
        if len(self.apart) < self.room:
            self.apart.append(connection)
            return True
        return False


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_nothing_is_decided_before_the_exit_status_is_known(scene: Scene) -> None:
    (get,) = scene.clients.come(1)
    worker = scene.died((get, 0.1))
    scene.reactor.advance(0.1)
    assert len(scene.inquest) == 1
    assert scene.at_once == scene.apart == []
    scene.inquest.exited(worker, KILLED)
    assert len(scene.inquest) == 0
    assert scene.at_once == [get]


def test_a_status_that_does_not_come_is_not_waited_for_long(scene: Scene) -> None:
    (get,) = scene.clients.come(1)
    worker = scene.died((get, 0.1))
    scene.reactor.advance(0.25)
    assert scene.at_once == [get]
    scene.inquest.exited(worker, EXITED)  # comes after all
    assert scene.at_once == [get]


@pytest.mark.parametrize("status", [EXITED, SEGFAULT])
def test_after_a_crash_they_run_apart_and_the_second_one_is_condemned(
    scene: Scene, status: int
) -> None:
    get, other = scene.clients.come(2)
    scene.inquest.exited(scene.died((get, 0.1), (other, 0.3)), status)
    assert scene.apart == [get, other]
    scene.inquest.exited(scene.died((get, 0.1), (other, 0.02)), status)
    assert scene.condemned == [get]
    assert scene.at_once == [other]
    assert (get.reruns, other.reruns) == (1, 2)


def test_one_that_was_answered_meanwhile_is_acquitted_wherever_it_ran(scene: Scene) -> None:
    """It was not on trial; its connection lives on, and its next request is another one."""
    get, other = scene.clients.come(2)
    for _ in range(2):
        scene.inquest.exited(scene.died((other, 0.2)), KILLED)
        answer(other)
        scene.clients.ask_again(other)
    scene.inquest.exited(scene.died((get, 0.2)), KILLED)
    scene.inquest.exited(scene.died((get, 0.2)), KILLED)
    assert scene.condemned == [], "two workers died of what harmed no other"


def test_one_whose_client_has_left_is_not_run(scene: Scene) -> None:
    get, other = scene.clients.come(2)
    worker = scene.died((get, 0.1), (other, 0.1))
    scene.connections.close(get)
    scene.inquest.exited(worker, KILLED)
    assert scene.at_once == [other]


def test_a_worker_that_was_ended_on_purpose_is_held_against_nobody(scene: Scene) -> None:
    (get,) = scene.clients.come(1)
    worker = FakeWorker(9, scene.stack)
    for number in range(MOST_RERUNS):
        scene.inquest.absolve(worker, [get])
        assert len(scene.at_once) == number + 1
    scene.inquest.absolve(worker, [get])
    assert scene.condemned == [get], "but nothing runs for ever"


def test_those_that_wait_for_their_trial_are_let_go_when_the_death_is_explained(
    scene: Scene,
) -> None:
    get, other = scene.clients.come(2)
    scene.room = 1
    scene.inquest.exited(scene.died((get, 0.1), (other, 0.3)), EXITED)
    assert scene.apart == [get]
    scene.inquest.exited(scene.died((get, 0.1)), EXITED)
    assert scene.condemned == [get]
    assert scene.at_once == [other]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"])
def test_ends_from_outside(name: str) -> None:
    assert not crashed(signal.Signals[name])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGXCPU"])
@pytest.mark.parametrize("core", [0, 0x80])
def test_ends_from_within(name: str, core: int) -> None:
    status = signal.Signals[name] | core
    assert os.WIFSIGNALED(status)
    assert crashed(status)


@pytest.mark.parametrize("code", [0, 1, 255])
def test_so_is_an_exit(code: int) -> None:
    assert crashed(code << 8)
