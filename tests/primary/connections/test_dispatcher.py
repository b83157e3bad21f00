"""Which worker gets a connection, and what becomes of those that no worker can take yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from launcher.policy.scheduling import Candidate, Policy, round_robin
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.dispatcher import Dispatcher
from launcher.primary.connections.farewell import Farewell
from launcher.refusals import UNAVAILABLE
from tests.fakes import REQUEST, FakeReactor, FakeWorker, answer, clients

QUEUE_TIMEOUT = 5.0
QUEUE_SIZE = 3


class Desk:
    """A dispatcher, three workers that are its ring, and clients."""

    def __init__(self, stack: ExitStack, policy: Policy = round_robin) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.connections = Connections(self.reactor, 1000)
        self._clients = stack.enter_context(clients(self.connections))
        farewell = Farewell(self.reactor, 100)
        stack.callback(farewell.close)
        self.dispatcher = Dispatcher(
            self.reactor, self.connections, farewell, policy, QUEUE_TIMEOUT, QUEUE_SIZE
        )
        self.workers = [FakeWorker(number, stack) for number in (1, 2, 3)]
        self.serve_with(*self.workers)

    def serve_with(self, *workers: FakeWorker, hopeless: bool = False) -> None:
        self.dispatcher.serve_with([*workers], hopeless)

    def come(self, number: int = 1) -> list[Connection]:
        """Clients connect, and ask."""
        found = self._clients.come(number)
        for connection in found:
            connection.rerun_at = -1
        return found

    def kept(self) -> Connection:
        """One that has been answered once, and is idle."""
        (connection,) = self.come()
        answer(connection)
        connection.consumed = connection.written = len(REQUEST)
        return connection

    def ask(self, connection: Connection) -> None:
        """The client sends its next request."""
        self._clients.sockets[connection].sendall(REQUEST)

    def heard(self, connection: Connection) -> bytes:
        """What the client has been answered, to the end; fails while it is not the end."""
        client = self._clients.sockets[connection]
        client.settimeout(5)
        return b"".join(iter(lambda: client.recv(65536), b""))

    def of(self, worker: FakeWorker) -> list[list[int]]:
        """The serials that a worker was dealt since it was asked last, by record."""
        return [[deal.serial for deal in deals] for deals in worker.dealt()]

    def owners(self, *connections: Connection) -> list[int | None]:
        """The workers that have these, by id."""
        found = map(self.connections.worker_of, connections)
        return [worker.id if worker else None for worker in found]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(stack)


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


# Connections that are given back


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
