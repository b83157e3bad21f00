"""Which worker gets a connection, and what becomes of those that no worker can take yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from launcher.policy.scheduling import Candidate, round_robin
from launcher.refusals import UNAVAILABLE
from tests.primary.connections.conftest import QUEUE_SIZE, QUEUE_TIMEOUT, Desk


def test_they_are_dealt_in_turn(desk: Desk) -> None:
    found = desk.come(4)
    for connection in found:
        desk.dispatcher.admit(connection)
    assert desk.owners(*found) == [1, 2, 3, 1]
    assert [worker.held for worker in desk.workers] == [2, 1, 1]
    assert desk.of(desk.workers[0]) == [[found[0].serial], [found[3].serial]]


def test_what_was_accepted_together_travels_in_one_record_for_each_worker(desk: Desk) -> None:
    found = desk.come(5)
    desk.dispatcher.admit_all(found)
    first, second, third, fourth, fifth = (connection.serial for connection in found)
    assert [desk.of(worker) for worker in desk.workers] == [
        [[first, fourth]],
        [[second, fifth]],
        [[third]],
    ]


def test_a_deal_tells_what_the_next_worker_has_to_know(desk: Desk) -> None:
    (connection,) = desk.come()
    connection.written, connection.consumed, connection.rerun_at = 70, 30, 30
    connection.proxied, connection.since = "TCP4 …", 990.5
    desk.dispatcher.admit(connection)
    ((deal,),) = desk.workers[0].dealt()
    assert deal[:2] == (connection.serial, 70)
    assert (deal.consumed, deal.first, deal.since, deal.proxied) == (30, True, 990.5, "TCP4 …")
    assert (deal.host, deal.port) == ("127.0.0.1", connection.port)
    assert connection.since == 0, "the worker has the clock from here on"


def test_one_that_takes_nothing_more_is_passed_over(desk: Desk) -> None:
    desk.workers[0].fall_behind()
    before = desk.workers[0].load()
    found = desk.come(3)
    desk.dispatcher.admit_all(found)
    assert desk.owners(*found) == [2, 2, 3]
    assert desk.workers[0].load() == before, "what could not be handed over is not promised"
    assert desk.workers[0].held == 0


def test_one_that_is_dead_is_too(desk: Desk) -> None:
    desk.workers[0].channel.shut()
    (connection,) = desk.come()
    desk.dispatcher.admit(connection)
    assert desk.owners(connection) == [2]


def test_where_no_worker_takes_any_they_wait_and_are_dealt_in_their_order(desk: Desk) -> None:
    for worker in desk.workers:
        worker.fall_behind()
    found = desk.come(2)
    desk.dispatcher.admit_all(found)
    assert desk.owners(*found) == [None, None]
    assert (desk.dispatcher.held, len(desk.dispatcher)) == (2, 2)
    desk.workers[1].catch_up()
    desk.reactor.advance(0.0999)
    assert desk.of(desk.workers[1]) == []
    desk.reactor.advance(0.0001)
    assert desk.of(desk.workers[1]) == [[found[0].serial], [found[1].serial]]
    assert len(desk.dispatcher) == 0


def test_those_that_come_later_do_not_overtake_them(desk: Desk) -> None:
    desk.serve_with()
    first, second, third = desk.come(3)
    desk.dispatcher.admit(first)
    desk.dispatcher.admit(second)
    for worker in desk.workers[1:]:
        worker.fall_behind()
    desk.serve_with(*desk.workers)
    assert desk.of(desk.workers[0]) == [[first.serial], [second.serial]]
    desk.workers[0].fall_behind()
    fourth, fifth = desk.come(2)
    desk.dispatcher.admit(third)
    assert desk.owners(third) == [None]
    desk.workers[0].catch_up()
    desk.dispatcher.admit_all([fourth, fifth])
    assert desk.of(desk.workers[0]) == [[third.serial], [fourth.serial], [fifth.serial]]


def test_not_even_where_a_worker_catches_up_in_that_very_moment() -> None:
    asked: list[str] = []

    def catch_up_late(ring: Sequence[Candidate], after: int, client: str) -> int:
        asked.append(client)
        if len(asked) == 3:
            worker.catch_up()
        return round_robin(ring, after, client)

    with ExitStack() as stack:
        desk = Desk(stack, catch_up_late)
        worker = desk.workers[0]
        desk.serve_with(worker)
        worker.fall_behind()
        first, second = desk.come(2)
        desk.dispatcher.admit(first)
        desk.dispatcher.admit(second)
        assert desk.owners(first, second) == [None, None]
        assert len(asked) == 2, "both times for the first"


def test_without_workers_they_wait_for_the_first(desk: Desk) -> None:
    desk.serve_with()
    (connection,) = desk.come()
    desk.dispatcher.admit(connection)
    assert connection.since == desk.reactor.now
    desk.reactor.advance(1)
    assert desk.owners(connection) == [None]
    desk.serve_with(desk.workers[2])
    ((deal,),) = desk.workers[2].dealt()
    assert (deal.serial, deal.since) == (connection.serial, 1000.0)


def test_after_the_queue_timeout_a_request_is_refused(desk: Desk) -> None:
    desk.serve_with()
    (connection,) = desk.come()
    desk.dispatcher.admit(connection)
    desk.reactor.advance(QUEUE_TIMEOUT - 0.001)
    assert len(desk.dispatcher) == 1
    desk.reactor.advance(0.2)
    assert len(desk.dispatcher) == 0
    assert desk.heard(connection) == UNAVAILABLE
    assert len(desk.connections) == 0


def test_an_idle_connection_waits_without_a_clock_until_its_client_asks(desk: Desk) -> None:
    desk.serve_with()
    connection = desk.kept()
    desk.dispatcher.admit(connection)
    desk.reactor.advance(10 * QUEUE_TIMEOUT)
    assert (len(desk.connections), desk.dispatcher.held) == (1, 0)
    desk.ask(connection)
    desk.reactor.advance(0.1)
    assert connection.since == pytest.approx(desk.reactor.now)
    assert desk.dispatcher.held == 1
    desk.reactor.advance(QUEUE_TIMEOUT - 0.001)
    assert len(desk.connections) == 1
    desk.reactor.advance(0.2)
    assert desk.heard(connection) == UNAVAILABLE


def test_one_whose_client_has_left_is_dealt_no_more(desk: Desk) -> None:
    desk.serve_with()
    gone, stays = desk.come(2)
    desk.dispatcher.admit(gone)
    desk.dispatcher.admit(stays)
    desk.connections.close(gone)
    desk.serve_with(desk.workers[0])
    assert desk.of(desk.workers[0]) == [[stays.serial]]
    assert len(desk.dispatcher) == 0


def test_where_no_worker_will_come_requests_are_refused_and_idle_ones_closed(desk: Desk) -> None:
    desk.serve_with()
    (asking,), idle = desk.come(), desk.kept()
    desk.dispatcher.admit(asking)
    desk.dispatcher.admit(idle)
    desk.serve_with(hopeless=True)
    assert (desk.heard(asking), desk.heard(idle)) == (UNAVAILABLE, b"")
    (late,) = desk.come()
    desk.dispatcher.admit(late)
    assert desk.heard(late) == UNAVAILABLE
    assert len(desk.connections) == 0


# How much there is room for


def test_the_acceptor_hears_when_the_queue_is_full_no_more(desk: Desk) -> None:
    told: list[str] = []
    desk.dispatcher.on_room = lambda: told.append("room")
    desk.serve_with()
    for connection in desk.come(QUEUE_SIZE - 1):
        desk.dispatcher.admit(connection)
    assert not desk.dispatcher.full
    desk.dispatcher.admit(desk.come()[0])
    assert desk.dispatcher.full
    assert told == []
    desk.serve_with(*desk.workers)
    assert (told, desk.dispatcher.full) == (["room"], False)


@pytest.mark.parametrize("how", ["timeout", "hopeless"])
def test_also_when_they_are_refused(desk: Desk, how: str) -> None:
    told: list[str] = []
    desk.dispatcher.on_room = lambda: told.append("room")
    desk.serve_with()
    for connection in desk.come(QUEUE_SIZE):
        desk.dispatcher.admit(connection)
    if how == "timeout":
        desk.reactor.advance(QUEUE_TIMEOUT + 0.2)
    else:
        desk.serve_with(hopeless=True)
    assert told == ["room"]


def test_what_waits_in_workers_counts(desk: Desk) -> None:
    desk.workers[0].row.waiting, desk.workers[2].row.waiting = 1, 2
    assert (len(desk.dispatcher), desk.dispatcher.held) == (3, 0)
    assert desk.dispatcher.full
