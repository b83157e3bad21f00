"""What is started, exchanged and ended: histories replayed with exact numbers and no clock."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from launcher.policy.lifecycle import WorkerState
from launcher.policy.restart import RestartPolicy
from launcher.policy.staffing import (
    EXTERNAL,
    RELOAD,
    SCALE,
    UNPROVEN,
    Action,
    Dismiss,
    Fork,
    Launch,
    Promote,
    Retire,
    View,
    Wait,
    by_slot,
    plan,
)


@dataclass
class Worker:
    """As far as the plan looks."""

    id: int
    slot: int
    state: WorkerState = WorkerState.LAUNCHING
    replaced: bool = False


@dataclass
class Generation:
    """As far as the plan looks."""

    number: int
    alive: bool = True
    can_fork: bool = False
    workers: dict[int, Worker] = field(default_factory=dict)


class Cluster:
    """A cluster in which all that is planned happens at once, and nothing else unless told."""

    def __init__(self, wanted: int = 2, limit: int = 16) -> None:
        self.now = 0.0
        self.wanted = wanted
        self.current: Generation | None = None
        self.next: Generation | None = None
        self.earlier: list[Generation] = []
        self.restart = RestartPolicy(limit)
        self.change = self.reload = False
        self.last_id = self.last_number = 0

    def view(self) -> View:
        generations = self.current, self.next, self.earlier
        return View(self.wanted, *generations, self.restart, self.change, self.reload)

    def step(self) -> list[Action]:
        """Plan, and have it carried out."""
        actions = plan(self.view(), self.now)
        for action in actions:
            self._carry_out(action)
        return actions

    def _carry_out(self, action: Action) -> None:
        match action:
            case Launch():
                self.launch()
            case Fork(number, slot):
                self.restart.started(self.now)
                self.last_id += 1
                self._generation(number).workers[self.last_id] = Worker(self.last_id, slot)
            case Promote():
                if self.current:
                    self.earlier.append(self.current)
                self.current, self.next = self.next, None
            case Retire(worker, _):
                self.worker(worker).state = WorkerState.RETIRING
            case Dismiss(number):
                self.earlier.remove(self._generation(number))
            case Wait(until):
                assert until > self.now

    def launch(self) -> None:
        self.restart.started(self.now)
        self.last_number += 1
        self.next = Generation(self.last_number)

    def begin_reload(self) -> None:
        self.launch()
        self.change = self.reload = True

    def load(self) -> None:
        """The app of the newest generation is loaded."""
        self._generation(self.last_number).can_fork = True

    def ready(self, *ids: int) -> None:
        for each in ids:
            self.worker(each).state = WorkerState.ONLINE

    def die(self, *ids: int, stood_up: bool | None = None) -> None:
        """These are dead; ``stood_up``: that was no end that was asked for."""
        for each in ids:
            for generation in self._generations():
                generation.workers.pop(each, None)
            if stood_up is not None:
                self.restart.died(self.now, stood_up)

    def worker(self, number: int) -> Worker:
        return next(g.workers[number] for g in self._generations() if number in g.workers)

    def _generations(self) -> list[Generation]:
        return [g for g in (self.current, self.next, *self.earlier) if g]

    def _generation(self, number: int) -> Generation:
        return next(g for g in self._generations() if g.number == number)


def online(wanted: int = 2) -> Cluster:
    """All workers of the first generation are online: ids 1 to ``wanted``."""
    cluster = Cluster(wanted)
    cluster.step()
    cluster.load()
    cluster.step()
    cluster.ready(*range(1, wanted + 1))
    assert cluster.step() == []
    return cluster


def test_the_first_start() -> None:
    cluster = Cluster(wanted=3)
    assert cluster.step() == [Launch(), Promote(EXTERNAL)]
    assert cluster.step() == []
    cluster.load()
    assert cluster.step() == [Fork(1, 0), Fork(1, 1), Fork(1, 2)]
    assert cluster.step() == []
    cluster.ready(1, 2, 3)
    assert cluster.step() == []


def test_until_one_is_ready_only_some_start() -> None:
    cluster = Cluster(wanted=64)
    cluster.step()
    cluster.load()
    assert cluster.step() == [Fork(1, slot) for slot in range(UNPROVEN)]
    assert UNPROVEN == 8
    assert cluster.step() == []
    cluster.ready(5)
    assert cluster.step() == [Fork(1, slot) for slot in range(UNPROVEN, 64)]


def test_planning_changes_nothing() -> None:
    cluster = Cluster(wanted=4)
    cluster.step()
    cluster.load()
    cluster.restart.died(0.0, stood_up=False)
    before = copy.deepcopy((cluster.current, cluster.next, vars(cluster.restart)))
    assert plan(cluster.view(), cluster.now) == plan(cluster.view(), cluster.now)
    assert (cluster.current, cluster.next, vars(cluster.restart)) == before


def test_a_crash_loop_is_slowed_down_whatever_the_number_of_workers() -> None:
    """100 ms after the first death, then half as much longer after each."""
    for wanted in (1, 2, 8):
        cluster = Cluster(wanted)
        cluster.step()
        cluster.load()
        forks = []
        for _ in range(9 - wanted):
            actions = cluster.step()
            forks += [round(cluster.now, 4) for action in actions if isinstance(action, Fork)]
            cluster.die(*cluster.current.workers, stood_up=False)  # type: ignore[union-attr]
            (wait,) = cluster.step()
            assert isinstance(wait, Wait)
            cluster.now = wait.until
        delays = [0.1 * 1.5 ** (failures - 1) for failures in range(wanted, 9)]
        due = [0.0] * wanted + [round(sum(delays[: n + 1]), 4) for n in range(len(delays))]
        assert forks == due[: len(forks)]
        assert len(forks) == 8


def test_a_waiting_slot_is_filled_once_its_time_has_come_and_one_at_a_time() -> None:
    cluster = online(wanted=3)
    cluster.now = 10.0
    cluster.die(1, 2, stood_up=False)
    cluster.restart.started(9.95)
    assert cluster.step() == [Wait(9.95 + 0.15)]
    cluster.now = 9.95 + 0.15
    assert cluster.step() == [Fork(1, 0), Wait(cluster.now + 0.15)]
    assert cluster.step() == [Wait(cluster.now + 0.15)]
    cluster.now += 0.15
    assert cluster.step() == [Fork(1, 1)]


def test_workers_that_had_lived_are_replaced_at_once_up_to_the_fourth() -> None:
    cluster = online()
    cluster.now = 5.0
    for fork in range(3):
        cluster.die(cluster.last_id, stood_up=True)
        assert cluster.step() == [Fork(1, 1)], fork
        cluster.ready(cluster.last_id)
    cluster.die(cluster.last_id, stood_up=True)
    assert cluster.step() == [Wait(5.1)]
    cluster.now = 5.1
    assert cluster.step() == [Fork(1, 1)]


def test_when_too_many_starts_have_failed_nothing_is_started_nor_waited_for() -> None:
    cluster = Cluster(wanted=2, limit=3)
    cluster.step()
    cluster.load()
    cluster.step()
    for _ in range(3):
        cluster.restart.died(0.0, stood_up=False)
    cluster.die(1, 2)
    assert cluster.step() == []
    assert cluster.current
    cluster.current.alive = cluster.current.can_fork = False
    assert cluster.step() == []
    cluster.restart.reset()
    assert cluster.step() == [Launch(), Promote(EXTERNAL)]


def test_a_reload_replaces_all_once_all_are_ready() -> None:
    cluster = online()
    cluster.begin_reload()
    assert cluster.step() == []
    cluster.load()
    assert cluster.step() == [Fork(2, 0), Fork(2, 1)]
    cluster.ready(3)
    assert cluster.step() == []
    cluster.ready(4)
    assert cluster.step() == [Promote(RELOAD), Retire(1, RELOAD), Retire(2, RELOAD)]
    cluster.change = cluster.reload = False
    assert cluster.step() == []
    cluster.die(1)
    assert cluster.step() == []
    cluster.die(2)
    assert cluster.step() == [Dismiss(1)]
    assert cluster.step() == []


def test_the_workers_of_a_reload_are_not_slowed_down() -> None:
    cluster = online()
    for _ in range(5):
        cluster.restart.died(0.0, stood_up=False)
    cluster.die(1)
    cluster.begin_reload()
    cluster.load()
    later = Wait(0.1 * 1.5**4)
    assert cluster.step() == [Fork(2, 0), Fork(2, 1), later], "slot 0 of the old one has to wait"


def test_without_its_reload_the_next_generation_is_slowed_down() -> None:
    cluster = online()
    assert cluster.current
    cluster.current.alive = cluster.current.can_fork = False
    cluster.restart.died(0.0, stood_up=False)
    assert cluster.step() == [Wait(0.1)]
    cluster.now = 0.1
    assert cluster.step() == [Launch()]
    cluster.load()
    assert cluster.step() == [Wait(0.2)]
    cluster.now = 0.2
    assert cluster.step() == [Fork(2, 0), Wait(0.2 + 0.1)]


def test_the_workers_of_a_lost_pool_serve_until_all_of_the_next_are_ready() -> None:
    cluster = online()
    assert cluster.current
    cluster.current.alive = cluster.current.can_fork = False
    assert cluster.step() == [Launch()]
    assert cluster.step() == []
    cluster.load()
    assert cluster.step() == [Fork(2, 0), Fork(2, 1)]
    cluster.ready(3)
    assert cluster.step() == []
    cluster.ready(4)
    assert cluster.step() == [Promote(EXTERNAL), Retire(1, EXTERNAL), Retire(2, EXTERNAL)]
    cluster.die(1, 2)
    assert cluster.step() == [], "a pool that is dead is not told to go"


def test_where_nothing_serves_the_next_generation_takes_over_at_once() -> None:
    cluster = online()
    assert cluster.current
    cluster.current.alive = cluster.current.can_fork = False
    assert cluster.step() == [Launch()]
    cluster.die(1, 2)
    assert cluster.step() == [Promote(EXTERNAL)]


def test_but_not_while_a_change_is_under_way() -> None:
    cluster = online()
    cluster.change = True
    assert cluster.current
    cluster.current.alive = cluster.current.can_fork = False
    cluster.die(1, 2)
    assert cluster.step() == [Launch()]
    cluster.load()
    assert cluster.step() == [Fork(2, 0), Fork(2, 1)]
    cluster.ready(3, 4)
    assert cluster.step() == [Promote(EXTERNAL)]


def test_scaling_up_fills_the_new_slots() -> None:
    cluster = online()
    cluster.wanted = 4
    assert cluster.step() == [Fork(1, 2), Fork(1, 3)]


def test_scaling_down_ends_what_has_a_slot_too_many_ready_or_not() -> None:
    cluster = online(wanted=4)
    cluster.wanted = 5
    cluster.step()
    cluster.wanted = 2
    assert cluster.step() == [Retire(3, SCALE), Retire(4, SCALE), Retire(5, SCALE)]
    assert cluster.step() == []


def test_a_worker_that_is_being_replaced_stays_until_its_replacement_is_ready() -> None:
    cluster = online()
    cluster.worker(1).replaced = True
    assert cluster.step() == [Fork(1, 0)]
    assert cluster.step() == []
    cluster.ready(3)
    assert cluster.step() == [Retire(1, SCALE)]
    assert cluster.step() == []


def test_the_slot_of_a_worker_that_retires_by_itself_is_filled_at_once() -> None:
    cluster = online()
    cluster.worker(2).state = WorkerState.RETIRING
    assert cluster.step() == [Fork(1, 1)]


def test_a_slot_is_held_by_what_neither_retires_nor_is_being_replaced() -> None:
    cluster = online(wanted=4)
    cluster.worker(2).replaced = True
    cluster.worker(3).state = WorkerState.RETIRING
    assert cluster.current
    assert {slot: worker.id for slot, worker in by_slot(cluster.current).items()} == {0: 1, 3: 4}
