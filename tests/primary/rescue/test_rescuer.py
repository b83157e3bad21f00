"""What the primary carries out when a worker is dead, on real connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from launcher.events.fact import Event
from launcher.ipc.notes import CLOSES, LENGTH_UNKNOWN
from launcher.policy.lifecycle import WorkerState
from launcher.policy.rescue import Action
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.farewell import Farewell
from launcher.primary.journal import observed_by
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.rescue.rescuer import Rescuer
from launcher.refusals import BAD_GATEWAY, GATEWAY_TIMEOUT
from tests.fakes import REQUEST, FakeReactor, FakeWorker, clients

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scene:
    """Two workers, connections of the first, and what is done with them when it dies."""

    def __init__(self, stack: ExitStack, rerun: bool = True) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.connections = Connections(self.reactor, 100)
        self._clients = stack.enter_context(clients(self.connections))
        self.farewell = Farewell(self.reactor, 100)
        stack.callback(self.farewell.close)
        self.worker, self.other = FakeWorker(1, stack), FakeWorker(2, stack)
        self.done: list[tuple[Any, ...]] = []
        """What was asked of dispatcher and inquest, in their order."""
        parts: Any = self
        self.rescuer = Rescuer(
            self.connections, self.farewell, parts, parts, rerun, lambda: self.reactor.now
        )

    # As the dispatcher and the inquest

    def admit(self, connection: Connection) -> None:
        self.done.append(("admit", connection.serial))

    def readmit(self, connection: Connection, returned_by: WorkerHandle) -> None:
        self.done.append(("readmit", connection.serial, returned_by.id))

    def open(
        self, worker: WorkerHandle, ages: Sequence[tuple[Connection, float]], running: int
    ) -> None:
        told = [(connection.serial, round(age, 6)) for connection, age in ages]
        self.done.append(("open", worker.id, told, running))

    def absolve(self, worker: WorkerHandle, connections: Sequence[Connection]) -> None:
        self.done.append(("absolve", worker.id, [each.serial for each in connections]))

    # What happens

    def come(self) -> Connection:
        """A client connects and asks; the worker has the connection."""
        (connection,) = self._clients.come(1)
        connection.rerun_at = -1
        self.connections.give(connection, self.worker)
        return connection

    def run(self, connection: Connection, *, safe: bool = True, age: float = 2.0) -> int:
        """The worker has been running its request for so long; in which thread."""
        row = self.worker.row
        thread = next(n for n in range(row.threads) if not row.pad(n).started())
        began = round((self.reactor.now - age) * 1e9)
        known = connection.written, connection.consumed
        row.pad(thread).begin(connection.serial, safe, began, *known, len(REQUEST), REQUEST)
        return thread

    def send(self, connection: Connection, data: bytes) -> None:
        os.write(connection.fd, data)

    def consume(self, connection: Connection, size: int) -> None:
        assert len(os.read(connection.fd, size)) == size

    def client(self, connection: Connection) -> socket.socket:
        client = self._clients.sockets[connection]
        client.settimeout(5)
        return client

    def heard(self, connection: Connection) -> bytes:
        """All that the client gets, to the end."""
        client = self.client(connection)
        return b"".join(iter(lambda: client.recv(65536), b""))

    def died(self) -> list[tuple[Any, ...]]:
        """The worker is dead; what is asked of the others then."""
        self.rescuer.rescue(self.worker)
        assert self.worker.held == 0
        assert self.connections.of(self.worker) == []
        return self.done


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_an_idle_one_goes_to_another_worker(scene: Scene) -> None:
    first, second = scene.come(), scene.come()
    assert scene.died() == [
        ("admit", first.serial),
        ("admit", second.serial),
        ("open", 1, [], 0),
    ]


def test_what_becomes_of_them_is_told(scene: Scene) -> None:
    seen: list[Event] = []
    scene.come()
    scene.run(scene.come())
    scene.run(scene.come(), safe=False)
    with observed_by(seen.append):
        scene.died()
        scene.died()
    (told,) = seen
    assert told.text == (
        f"connections of {scene.worker}: 1 dealt again, 1 with a request to run again,"
        " 1 answered with an error"
    )
    assert not told.logged
    assert told.values().items() >= {"worker": 1, "dealt": 1, "rerun": 1, "answered": 1}.items()


def test_a_request_that_may_run_again_waits_for_how_its_worker_died(scene: Scene) -> None:
    connection = scene.come()
    connection.reruns = 1
    scene.run(connection, age=2.5)
    assert scene.died() == [("open", 1, [(connection.serial, 2.5)], 1)]
    assert (connection.rerun_at, connection.reruns) == (0, 0), "a request that is new"


def test_one_that_runs_for_the_second_time_is_known(scene: Scene) -> None:
    connection = scene.come()
    connection.rerun_at, connection.reruns = 0, 1
    scene.run(connection)
    scene.died()
    assert (connection.rerun_at, connection.reruns) == (0, 1)


def test_where_it_stands_is_counted_anew_before_it_runs_again(scene: Scene) -> None:
    """The next worker is told, and compares with it."""
    connection = scene.come()
    scene.client(connection).sendall(REQUEST)
    scene.consume(connection, len(REQUEST))
    scene.send(connection, RESPONSE)
    assert scene.client(connection).recv(1000) == RESPONSE
    connection.written, connection.consumed = len(RESPONSE), len(REQUEST)
    scene.run(connection)
    connection.written = connection.consumed = 0
    scene.died()
    assert (connection.written, connection.consumed) == (len(RESPONSE), len(REQUEST))
    assert connection.rerun_at == len(REQUEST)


def test_every_request_that_ran_counts_for_the_inquest(scene: Scene) -> None:
    again, post = scene.come(), scene.come()
    scene.run(again, age=1.0)
    scene.run(post, safe=False)
    assert scene.died() == [("open", 1, [(again.serial, 1.0)], 2)]


def test_a_request_that_may_not_gets_502(scene: Scene) -> None:
    connection = scene.come()
    scene.run(connection, safe=False)
    assert scene.died() == [("open", 1, [], 1)]
    assert scene.heard(connection) == BAD_GATEWAY
    assert len(scene.connections) == 0
    assert sum(scene.rescuer.answered.times) == 0
    assert scene.rescuer.rescued[Action.ANSWER] == 1
    assert scene.farewell.refused == {502: 1, 503: 0, 504: 0}


def test_so_do_all_where_none_is_to_run_again() -> None:
    with ExitStack() as stack:
        scene = Scene(stack, rerun=False)
        connection = scene.come()
        scene.run(connection)
        assert scene.died() == [("open", 1, [], 1)]
        assert scene.heard(connection) == BAD_GATEWAY


def test_one_that_is_overdue_gets_504_and_is_not_run_again(scene: Scene) -> None:
    late, beside = scene.come(), scene.come()
    scene.run(late)
    scene.run(beside, age=0.5)
    scene.worker.overdue = frozenset({late.serial})
    scene.worker.leave("timeout", counted=True)
    assert scene.died() == [("absolve", 1, [beside.serial])]
    assert scene.heard(late) == GATEWAY_TIMEOUT


def test_the_requests_of_a_worker_that_was_to_leave_have_not_killed_it(scene: Scene) -> None:
    connection = scene.come()
    scene.run(connection)
    scene.worker.leave("stop")
    assert scene.died() == [("absolve", 1, [connection.serial])]


def test_a_response_that_is_cut_off_ends_with_a_reset(scene: Scene) -> None:
    connection = scene.come()
    thread = scene.run(connection)
    scene.worker.row.pad(thread).answer(len(RESPONSE))
    scene.send(connection, RESPONSE[:10])
    scene.died()
    with pytest.raises(ConnectionResetError):
        scene.heard(connection)
    assert scene.done == [("open", 1, [], 1)]


def test_so_does_one_of_which_the_end_is_not_known(scene: Scene) -> None:
    connection = scene.come()
    thread = scene.run(connection)
    scene.worker.row.pad(thread).answer(LENGTH_UNKNOWN)
    scene.send(connection, RESPONSE)
    scene.died()
    with pytest.raises(ConnectionResetError):
        scene.heard(connection)


def test_a_request_that_is_answered_is_consumed_and_its_connection_goes_on(scene: Scene) -> None:
    connection = scene.come()
    scene.client(connection).sendall(b"the next")
    thread = scene.run(connection)
    scene.worker.row.pad(thread).answer(len(RESPONSE))
    scene.send(connection, RESPONSE)
    assert scene.died() == [("admit", connection.serial), ("open", 1, [], 1)]
    assert scene.client(connection).recv(1000) == RESPONSE
    assert (connection.written, connection.consumed) == (len(RESPONSE), len(REQUEST))
    answered = scene.rescuer.answered
    assert (sum(answered.times), answered.took) == (1, 2_000_000_000), "it counts, though not there"
    assert os.read(connection.fd, 1000) == b"the next"


def test_only_the_rest_of_it_is_consumed(scene: Scene) -> None:
    connection = scene.come()
    scene.client(connection).sendall(b"the next")
    thread = scene.run(connection, safe=False)
    scene.consume(connection, 10)
    scene.worker.row.pad(thread).answer(len(RESPONSE))
    scene.send(connection, RESPONSE)
    assert scene.died()[0] == ("admit", connection.serial)
    assert os.read(connection.fd, 1000) == b"the next"


def test_where_the_response_ends_the_connection_it_ends_in_order(scene: Scene) -> None:
    connection = scene.come()
    thread = scene.run(connection)
    scene.worker.row.pad(thread).answer(len(RESPONSE) | CLOSES)
    scene.send(connection, RESPONSE)
    assert scene.died() == [("open", 1, [], 1)]
    assert scene.heard(connection) == RESPONSE
    assert len(scene.connections) == 0
    assert sum(scene.rescuer.answered.times) == 1
    assert {action for action, count in scene.rescuer.rescued.items() if count} == {Action.FINISH}


def test_one_that_is_pinned_cannot_travel(scene: Scene) -> None:
    """Its worker had consumed the request into its own memory."""
    owed, begun = scene.come(), scene.come()
    scene.connections.pin(owed.serial, pinned=True, answered=False)
    scene.connections.pin(begun.serial, pinned=True, answered=True)
    assert scene.died() == [("open", 1, [], 0)]
    assert scene.heard(owed) == BAD_GATEWAY
    with pytest.raises(ConnectionResetError):
        scene.heard(begun)


def test_one_that_the_kernel_does_not_account_for_is_not_guessed_about(scene: Scene) -> None:
    idle, running = scene.come(), scene.come()
    idle.exact = running.exact = False
    scene.run(running)
    assert scene.died() == [("admit", idle.serial), ("open", 1, [], 1)]
    assert scene.heard(running) == BAD_GATEWAY


def test_a_body_that_is_answered_pins_its_connection_no_longer(scene: Scene) -> None:
    """Its worker died behind the response and before it could say so.

    Were it still pinned, the client would get a 502 that it has not asked for, should
    the next worker die too.
    """
    connection = scene.come()
    thread = scene.run(connection, safe=False)
    scene.connections.pin(connection.serial, pinned=True, answered=False)
    scene.consume(connection, len(REQUEST))
    scene.worker.row.pad(thread).answer(len(RESPONSE))
    scene.send(connection, RESPONSE)
    assert scene.died()[0] == ("admit", connection.serial)
    assert (connection.pinned, connection.answered) == (False, False)
    assert (connection.written, connection.consumed) == (len(RESPONSE), len(REQUEST))


@pytest.mark.parametrize("runs", [False, True])
def test_the_first_byte_wakes_its_next_worker(scene: Scene, runs: bool) -> None:
    connection = scene.come()
    if runs:
        scene.run(connection)
    with socket.socket(fileno=os.dup(connection.fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100_000)
        scene.died()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


def test_what_a_proxy_has_said_is_read_again_if_it_is_still_there(scene: Scene) -> None:
    unread, read = scene.come(), scene.come()
    unread.proxied = read.proxied = "TCP4 …"
    scene.consume(read, 5)
    scene.died()
    assert (unread.proxied, read.proxied) == ("", "TCP4 …")


# Without a death


def test_what_an_online_worker_returns_goes_to_another(scene: Scene) -> None:
    connection = scene.come()
    scene.worker.state = WorkerState.ONLINE
    scene.rescuer.take_back(scene.worker, connection.serial, 990.0)
    assert scene.done == [("readmit", connection.serial, 1)]
    assert connection.since == 990.0
    assert scene.connections.worker_of(connection) is None


def test_what_one_returns_that_retires_is_dealt_as_any(scene: Scene) -> None:
    connection = scene.come()
    scene.worker.state = WorkerState.RETIRING
    scene.rescuer.take_back(scene.worker, connection.serial, 0.0)
    assert scene.done == [("admit", connection.serial)]


def test_only_what_a_worker_has_can_it_return(scene: Scene) -> None:
    connection = scene.come()
    scene.rescuer.take_back(scene.other, connection.serial, 0.0)
    scene.rescuer.take_back(scene.worker, connection.serial + 1, 0.0)
    assert scene.done == []
    assert scene.connections.worker_of(connection) is scene.worker


def test_a_worker_can_have_a_connection_cut(scene: Scene) -> None:
    connection = scene.come()
    scene.rescuer.cut(connection.serial)
    with pytest.raises(ConnectionResetError):
        scene.heard(connection)
    assert (len(scene.connections), scene.worker.held) == (0, 0)
    scene.rescuer.cut(connection.serial)
    assert scene.done == []
