"""Suspects run again so that another death would show which of them it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack

import pytest

from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.rescue.trial import Trial
from tests.fakes import FakeReactor, FakeWorker, answer, clients

PATIENCE = 30.0


class Court:
    """A trial, two workers, and what becomes of the suspects."""

    def __init__(self, stack: ExitStack) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.connections = Connections(self.reactor, 1000)
        self.clients = stack.enter_context(clients(self.connections))
        self.workers = [FakeWorker(number, stack, threads=64) for number in range(2)]
        self.busy = False
        """Whether none of them has a thread to spare."""
        self.begun: list[Connection] = []
        self.dealt: list[Connection] = []
        """To any worker, or none yet."""
        self.refused: list[Connection] = []
        self.trial = Trial(
            self.reactor,
            self.connections,
            self.dealt.append,
            self._deal_apart,
            self._refuse,
            PATIENCE,
        )

    def suspects(self, *ages: float) -> list[Connection]:
        """Have requests on trial whose workers died at these ages."""
        found = self.clients.come(len(ages))
        self.trial.add([*zip(found, ages, strict=True)])
        return found

    def worker_of(self, connection: Connection) -> WorkerHandle | None:
        return self.connections.worker_of(connection)

    def _deal_apart(
        self, connection: Connection, taken: Collection[WorkerHandle], begins: bool
    ) -> bool:
        free = [worker for worker in self.workers if worker not in taken]
        if not free or (self.busy and begins):
            return False
        self.connections.give(connection, free[0])
        if not self.busy:
            free[0].begin(connection, self.reactor.now)
        self.begun.append(connection)
        return True

    def _refuse(self, connection: Connection) -> None:
        self.connections.close(connection)
        self.refused.append(connection)


@pytest.fixture
def court() -> Iterator[Court]:
    with ExitStack() as stack:
        yield Court(stack)


def test_those_that_would_kill_at_the_same_time_run_in_different_workers(court: Court) -> None:
    first, second, third = court.suspects(0.1, 0.1, 0.1)
    assert court.begun == [first, second]
    assert [court.worker_of(each) for each in (first, second)] == court.workers
    assert len(court.trial) == 1
    court.reactor.advance(0.05)
    assert third not in court.begun


def test_one_that_is_answered_makes_room_for_the_next(court: Court) -> None:
    first, _, third = court.suspects(0.1, 0.1, 0.1)
    answer(first)
    court.reactor.advance(0.01)
    assert third in court.begun
    assert len(court.trial) == 0


def test_so_does_one_that_has_outlived_the_age_in_question(court: Court) -> None:
    _, _, third = court.suspects(0.1, 0.1, 0.1)
    court.reactor.advance(0.19)
    assert third not in court.begun
    court.reactor.advance(0.02)
    assert third in court.begun


def test_so_does_one_whose_client_has_left(court: Court) -> None:
    first, _, third = court.suspects(0.1, 0.1, 0.1)
    court.connections.close(first)
    court.reactor.advance(0.01)
    assert third in court.begun


def test_so_does_one_whose_worker_has_died(court: Court) -> None:
    first, _, third = court.suspects(0.1, 0.1, 0.1)
    court.connections.take(first)
    court.trial.worker_died(court.workers[0])
    court.reactor.advance(0.01)
    assert court.worker_of(third) is court.workers[0]


def test_so_does_one_that_its_worker_has_given_back(court: Court) -> None:
    first, _, third = court.suspects(0.1, 0.1, 0.1)
    court.connections.take(first)
    court.reactor.advance(0.01)
    assert third in court.begun


def test_those_that_would_kill_at_different_times_run_together(court: Court) -> None:
    court.workers.pop()
    late, early = court.suspects(0.4, 0.1)
    assert court.begun == [early, late], "the one that would be first begins first"


def test_a_request_of_quite_another_age_need_not_wait_for_one_that_waits_no_more(
    court: Court,
) -> None:
    court.workers.pop()
    first, second, third = court.suspects(0.1, 0.15, 0.55)
    assert court.begun == [first]
    court.reactor.advance(0.16)
    assert court.begun == [first, second, third], "their moments lie apart by now"


def test_32_suspects_that_harm_nobody_are_through_soon(court: Court) -> None:
    """GETs of 50 ms, in two workers."""
    found = court.suspects(*(number / 640 for number in range(32)))
    began = court.reactor.now
    ends: dict[Connection, float] = {}
    answered: set[Connection] = set()
    while len(answered) < 32:
        ends |= {it: court.reactor.now + 0.05 for it in court.begun if it not in ends}
        for connection in [it for it in ends if ends[it] <= court.reactor.now]:
            if connection not in answered:
                answer(connection)
                answered.add(connection)
        court.reactor.advance(0.005)
        assert court.reactor.now - began < 1.1
    assert answered == set(found)


def test_where_no_thread_is_free_they_wait_half_a_second_for_one(court: Court) -> None:
    court.busy = True
    first, second = court.suspects(0.1, 0.1)
    court.reactor.advance(0.4)
    assert court.begun == []
    court.reactor.advance(0.2)
    assert court.begun == [first, second]


def test_one_that_no_thread_begins_with_does_not_hold_up_others_for_ever(court: Court) -> None:
    court.busy = True
    court.suspects(*[0.1] * 8)
    court.reactor.advance(3)
    assert len(court.begun) == 8


def test_without_a_worker_one_of_them_waits_as_all_connections_do(court: Court) -> None:
    workers, court.workers = court.workers, []
    first, second = court.suspects(0.1, 0.1)
    court.reactor.advance(1)
    assert court.dealt == [first]
    assert len(court.trial) == 1
    court.connections.give(first, workers[0])
    workers[0].begin(first, court.reactor.now)
    court.workers = workers
    court.reactor.advance(0.01)
    assert court.worker_of(second) is workers[1]


def test_what_waits_for_its_trial_has_a_clock(court: Court) -> None:
    court.workers.clear()
    first, second, third = court.suspects(0.1, 0.1, 0.1)
    court.reactor.advance(PATIENCE - 0.1)
    assert court.refused == []
    court.reactor.advance(0.2)
    assert court.dealt == [first], "it has the clock of those that wait for a worker"
    assert court.refused == [second, third]
    assert len(court.trial) == 0


def test_one_whose_client_leaves_before_its_turn_is_not_run(court: Court) -> None:
    _, _, third = court.suspects(0.1, 0.1, 0.1)
    court.connections.close(third)
    court.reactor.advance(1)
    assert third not in court.begun
    assert len(court.trial) == 0


def test_those_that_are_no_suspects_any_more_are_served_at_once(court: Court) -> None:
    _, _, third, fourth = court.suspects(0.1, 0.1, 0.1, 0.1)
    court.trial.let_go(lambda connection: connection is third)
    assert court.dealt == [third]
    assert len(court.trial) == 1
    court.reactor.advance(0.21)
    assert fourth in court.begun


def test_when_nothing_is_on_trial_nobody_is_woken_up(court: Court) -> None:
    for suspect in court.suspects(0.1, 0.1):
        answer(suspect)
    court.reactor.advance(1)
    assert not court.reactor._timers
