"""What the primary carries out when a worker is dead, on a real connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.ipc.notes import Note
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.reactor import Reactor
from launcher.primary.rescue.accounting import figures
from launcher.primary.rescue.rescuer import Rescuer


class Worker:
    """As far as the rescuer looks at one that is dead."""

    held = 0
    overdue: frozenset[int] = frozenset()
    leaving = None

    def __init__(self, running: list[Note]) -> None:
        self.row = SimpleNamespace(running=lambda: running)


class Rescue:
    """A worker with one connection, and what becomes of it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname(), timeout=10)
            self.ours, _ = listener.accept()
        self.dealt: list[Connection] = []
        self.reactor = Reactor()
        self._connections = Connections(self.reactor, 10)
        self.connection = self._connections.add(self.ours.detach(), 0, "127.0.0.1", 5, exact=True)
        nobody: Any = None
        dispatcher: Any = SimpleNamespace(admit=self.dealt.append)
        inquest: Any = SimpleNamespace(open=lambda *_: None)
        self._rescuer = Rescuer(self._connections, nobody, dispatcher, inquest, True, lambda: 0.0)

    def died(self, *running: Note) -> None:
        """The worker is dead and was running these."""
        worker: Any = Worker([*running])
        self._connections.give(self.connection, worker)
        self._rescuer.rescue(worker)


@pytest.fixture
def rescue() -> Iterator[Rescue]:
    rescue = Rescue()
    yield rescue
    rescue.client.close()
    socket.socket(fileno=rescue.connection.fd).close()
    rescue.reactor.close()


def test_a_body_that_is_answered_pins_its_connection_no_longer(rescue: Rescue) -> None:
    """Its worker died behind the response and before it could say so.

    Were it still pinned, the client would get a 502 that it has not asked for, should
    the next worker die too.
    """
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    rescue.connection.pinned = True
    rescue.client.sendall(b"body")
    with socket.socket(fileno=rescue.connection.fd) as sock:
        assert sock.recv(100) == b"body"
        sock.sendall(response)
        sock.detach()
    known = figures(rescue.connection.fd)
    assert known
    serial, length = rescue.connection.serial, len(response)
    rescue.died(Note(serial, False, 1, 0, 0, 0, length, 1))
    assert rescue.dealt == [rescue.connection]
    assert (rescue.connection.pinned, rescue.connection.answered) == (False, False)
    assert (rescue.connection.written, rescue.connection.consumed) == (length, 4)
    rescue.died()
    assert rescue.dealt == [rescue.connection] * 2
