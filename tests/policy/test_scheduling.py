"""The scheduling policies, played by hand: who gets the next connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from launcher.config.settings import POLICIES as NAMES
from launcher.policy.scheduling import POLICIES, Policy, least_busy, round_robin, sticky


@dataclass
class Worker:
    """A candidate whose figures the test sets."""

    slot: int
    running: int = 0
    connections: int = 0
    busy: float = 0.0

    def held_up(self) -> float:
        return self.busy

    def load(self) -> int:
        return self.running


class Cluster:
    """Deals by a policy the way the dispatcher does: it remembers the slot it dealt to last."""

    def __init__(self, policy: Policy, *workers: Worker) -> None:
        self.ring = list(workers)
        self._policy = policy
        self._last = -1

    def deal(self, client: str = "10.0.0.1") -> int:
        """The slot that gets a connection; it runs nothing yet."""
        worker = self.ring[self._policy(self.ring, self._last, client)]
        self._last = worker.slot
        return worker.slot

    def deal_work(self) -> int:
        """The slot that gets a connection and is busy with it from now on."""
        slot = self.deal()
        worker = next(worker for worker in self.ring if worker.slot == slot)
        worker.running += 1
        worker.connections += 1
        return slot


def idle(*slots: int) -> list[Worker]:
    return [Worker(slot) for slot in slots]


def test_every_policy_but_kernel_is_here() -> None:
    assert {*POLICIES} == {*NAMES} - {"kernel"}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_lone_worker_gets_everything_however_busy(policy: Policy) -> None:
    cluster = Cluster(policy, Worker(3, running=99))
    assert [cluster.deal() for _ in range(3)] == [3, 3, 3]


# round-robin


def test_the_ring_begins_at_slot_0_and_goes_round() -> None:
    cluster = Cluster(round_robin, *idle(0, 1, 2))
    assert [cluster.deal() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_gap_in_the_ring_is_no_matter() -> None:
    cluster = Cluster(round_robin, *idle(1, 4, 6))
    assert [cluster.deal() for _ in range(5)] == [1, 4, 6, 1, 4]


def test_a_slot_that_goes_and_comes_back_costs_nobody_a_turn() -> None:
    cluster = Cluster(round_robin, *idle(0, 1, 2))
    assert [cluster.deal(), cluster.deal()] == [0, 1]
    gone = cluster.ring.pop(1)
    assert [cluster.deal(), cluster.deal(), cluster.deal()] == [2, 0, 2]
    cluster.ring.insert(1, gone)
    assert [cluster.deal(), cluster.deal(), cluster.deal()] == [0, 1, 2]


@pytest.mark.parametrize("running", [1, 4, 64])
def test_a_worker_that_is_at_work_is_passed_over_while_another_is_not(running: int) -> None:
    cluster = Cluster(round_robin, Worker(0), Worker(1, running=running), Worker(2))
    assert [cluster.deal() for _ in range(4)] == [0, 2, 0, 2]


def test_when_all_are_at_work_the_least_loaded_gets_it_and_equals_take_turns() -> None:
    workers = Worker(0, running=9), Worker(1, running=5), Worker(2, running=5)
    cluster = Cluster(round_robin, *workers)
    assert [cluster.deal() for _ in range(4)] == [1, 2, 1, 2]


def test_work_is_dealt_in_turns() -> None:
    cluster = Cluster(round_robin, Worker(0, running=2), Worker(1))
    assert [cluster.deal_work() for _ in range(6)] == [1, 1, 0, 1, 0, 1]
    assert [worker.running for worker in cluster.ring] == [4, 4]


def one_held_up(busy: float, other: float = 0.0) -> Cluster:
    """Of two workers of one thread the first has been with a request for so many seconds."""
    stuck, getting_on = Worker(0, running=1, busy=busy), Worker(1, busy=other)
    return Cluster(round_robin, stuck, getting_on)


@pytest.mark.parametrize(("busy", "first"), [(0.0049, 1), (0.005, 17), (0.01, 33), (2.0, 145)])
def test_when_none_is_free_a_worker_that_is_held_up_is_passed_over(busy: float, first: int) -> None:
    cluster = one_held_up(busy)
    assert [cluster.deal_work() for _ in range(first + 2)] == [1] * first + [0, 1]


def test_a_worker_that_is_held_up_is_not_forgotten_when_very_many_come() -> None:
    cluster = one_held_up(2.0)
    assert Counter(cluster.deal_work() for _ in range(344)) == {1: 244, 0: 100}


def test_who_has_been_held_up_for_a_moment_is_preferred_to_who_has_been_for_long() -> None:
    cluster = one_held_up(0.1, other=0.009)
    assert [cluster.deal_work() for _ in range(20)] == [1] * 20


def test_when_all_are_held_up_the_least_loaded_gets_it() -> None:
    workers = [Worker(slot, running=4, busy=0.1) for slot in (0, 1)]
    cluster = Cluster(round_robin, *workers)
    assert [cluster.deal_work() for _ in range(4)] == [0, 1, 0, 1]


def test_idle_connections_do_not_count() -> None:
    cluster = Cluster(round_robin, Worker(0, connections=1000), Worker(1))
    assert [cluster.deal() for _ in range(4)] == [0, 1, 0, 1]


# least-busy


def test_the_fewest_running_requests_win() -> None:
    cluster = Cluster(least_busy, Worker(0, running=2), Worker(1, running=1), Worker(2, running=3))
    assert [cluster.deal_work() for _ in range(4)] == [1, 0, 1, 2]


def test_among_equals_the_fewest_connections_win() -> None:
    workers = Worker(0, connections=3), Worker(1, connections=1), Worker(2, connections=2)
    assert [Cluster(least_busy, *workers).deal() for _ in range(2)] == [1, 1]


def test_running_requests_count_more_than_connections() -> None:
    cluster = Cluster(least_busy, Worker(0, running=1), Worker(1, connections=500))
    assert cluster.deal() == 1


def test_equals_take_turns() -> None:
    cluster = Cluster(least_busy, *idle(0, 1, 2))
    assert [cluster.deal() for _ in range(5)] == [0, 1, 2, 0, 1]


# sticky

CLIENTS = [f"192.0.2.{last}" for last in range(256)]


def placed(*slots: int) -> dict[str, int]:
    cluster = Cluster(sticky, *idle(*slots))
    return {client: cluster.deal(client) for client in CLIENTS}


def test_a_client_meets_the_same_slot_whatever_happened_in_between() -> None:
    cluster = Cluster(sticky, *idle(0, 1, 2, 3))
    first = {client: cluster.deal(client) for client in CLIENTS}
    assert {client: cluster.deal(client) for client in reversed(CLIENTS)} == first
    cluster.ring[2].running = 100
    assert {client: cluster.deal(client) for client in CLIENTS} == first


@pytest.mark.parametrize("slots", [2, 3, 4, 5, 7, 12])
def test_every_slot_has_its_fair_share_of_clients(slots: int) -> None:
    cluster = Cluster(sticky, *idle(*range(slots)))
    counts = Counter(cluster.deal(f"10.0.{i >> 8}.{i & 255}") for i in range(1000 * slots))
    assert {*counts} == {*range(slots)}
    assert 850 < min(counts.values()) <= max(counts.values()) < 1150


def test_when_a_slot_goes_only_its_own_clients_move() -> None:
    before, after = placed(0, 1, 2, 3), placed(0, 1, 3)
    moved = {client for client in CLIENTS if before[client] != after[client]}
    assert moved == {client for client in CLIENTS if before[client] == 2}


def test_the_clients_of_a_slot_that_goes_are_spread_over_the_others() -> None:
    before, after = placed(0, 1, 2, 3), placed(0, 1, 3)
    assert {after[client] for client in CLIENTS if before[client] == 2} == {0, 1, 3}


def test_when_a_slot_comes_nobody_moves_but_to_it() -> None:
    before, after = placed(0, 1, 2), placed(0, 1, 2, 3)
    moved = {client for client in CLIENTS if before[client] != after[client]}
    assert moved
    assert {after[client] for client in moved} == {3}
