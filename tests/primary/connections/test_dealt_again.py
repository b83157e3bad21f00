"""Connections that a worker gave back, and requests that run again apart from others."""

from __future__ import annotations

from launcher.primary.connections.connections import Connection
from launcher.refusals import UNAVAILABLE
from tests.fakes import FakeWorker
from tests.primary.connections.conftest import QUEUE_SIZE, Desk


def returned(desk: Desk, connection: Connection, since: float) -> FakeWorker:
    """Deal it to the first worker and have that give it back."""
    first = desk.workers[0]
    desk.serve_with(first)
    desk.dispatcher.admit(connection)
    first.dealt()
    assert desk.connections.take_from(first, connection.serial) is connection
    connection.since = since
    desk.serve_with(*desk.workers)
    return first


def test_one_that_has_a_request_goes_to_another_that_has_room(desk: Desk) -> None:
    (connection,) = desk.come()
    first = returned(desk, connection, since=999.0)
    desk.workers[1].row.capacity = 0
    desk.dispatcher.readmit(connection, first)
    assert desk.owners(connection) == [3]


def test_and_waits_where_no_other_has_room_with_the_clock_that_it_had(desk: Desk) -> None:
    (connection,) = desk.come()
    first = returned(desk, connection, since=998.0)
    for worker in desk.workers[1:]:
        worker.row.capacity = 0
    desk.dispatcher.readmit(connection, first)
    assert (desk.owners(connection), connection.since) == ([None], 998.0)
    desk.reactor.advance(0.0999)
    assert desk.of(first) == [], "not back at once"
    desk.reactor.advance(0.1001)
    assert desk.owners(connection) != [None]


def test_an_idle_one_goes_to_the_other_with_the_fewest_connections(desk: Desk) -> None:
    connection = desk.kept()
    first = returned(desk, connection, since=0.0)
    for other in desk.come(2):
        desk.connections.give(other, desk.workers[1])
    desk.connections.give(desk.come()[0], desk.workers[2])
    desk.dispatcher.readmit(connection, first)
    assert desk.owners(connection) == [3]


def test_it_is_not_sent_round_in_circles(desk: Desk) -> None:
    """Given back again within a tenth of a second it waits, and holds up no other."""
    (connection,) = desk.come()
    first = returned(desk, connection, since=999.0)
    desk.dispatcher.readmit(connection, first)
    (second,) = desk.owners(connection)
    holder = next(worker for worker in desk.workers if worker.id == second)
    holder.dealt()
    desk.connections.take(connection)
    connection.since = 999.0
    desk.reactor.advance(0.05)
    desk.dispatcher.readmit(connection, holder)
    assert desk.owners(connection) == [None]
    (other,) = desk.come()
    desk.dispatcher.admit(other)
    assert desk.owners(other) != [None]
    desk.reactor.advance(0.2)
    assert desk.owners(connection) != [None]


def test_where_too_many_wait_already_it_is_refused(desk: Desk) -> None:
    (connection,) = desk.come()
    first = returned(desk, connection, since=999.0)
    desk.workers[1].row.waiting = QUEUE_SIZE
    desk.dispatcher.readmit(connection, first)
    assert desk.owners(connection) == [2], "that many may"
    desk.connections.take(connection)
    connection.since = 999.0
    desk.workers[1].row.waiting = QUEUE_SIZE + 1
    desk.dispatcher.readmit(connection, first)
    assert desk.heard(connection) == UNAVAILABLE


# Suspects


def test_one_that_is_dealt_apart_goes_past_those_that_wait(desk: Desk) -> None:
    first, second, third = desk.workers
    first.begin(desk.come()[0], desk.reactor.now)
    (suspect,) = desk.come()
    assert desk.dispatcher.deal_apart(suspect, [second], begins=True)
    assert desk.owners(suspect) == [3], "it has least to do"
    (next_one,) = desk.come()
    assert desk.dispatcher.deal_apart(next_one, [second, third], begins=True)
    assert desk.owners(next_one) == [1]
    assert not desk.dispatcher.deal_apart(desk.come()[0], desk.workers, begins=False)


def test_only_to_a_worker_with_a_thread_for_it_if_that_is_asked(desk: Desk) -> None:
    for worker in desk.workers:
        worker.row.capacity = 0
    (suspect,) = desk.come()
    assert not desk.dispatcher.deal_apart(suspect, [], begins=True)
    assert desk.owners(suspect) == [None]
    assert desk.dispatcher.deal_apart(suspect, [], begins=False)
    assert desk.owners(suspect) == [1]
