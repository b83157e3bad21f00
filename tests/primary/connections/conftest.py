"""A dispatcher with workers that are only records, and clients on real connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from launcher.policy.scheduling import Policy, round_robin
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.dispatcher import Dispatcher
from launcher.primary.connections.farewell import Farewell
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
