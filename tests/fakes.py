"""What the primary's parts can be tested with, without a process: only the clock is false."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from launcher.ipc.channel import Channel
from launcher.ipc.scoreboard import Scoreboard, create
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class FakeReactor(Reactor):
    """A reactor whose time passes when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        super().__init__(clock=lambda: self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way happens at its time."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now = max(self.now, self._timers[0][0])
            self._fire_due()
        self.now = until


class FakeWorker(WorkerHandle):
    """A worker of which there is only the primary's record; the test runs its requests."""

    def __init__(self, number: int, stack: ExitStack, threads: int = 4) -> None:
        ours, theirs = Channel.pair()
        stack.callback(ours.close)
        stack.enter_context(theirs)
        memory = create(threads)
        stack.callback(os.close, memory)
        row = Scoreboard(memory, threads).row(number)
        row.living = row.capacity = threads
        row.heartbeat = 2**62  # it is always well
        super().__init__(number, number, 1, number, row, ours, 0.0)

    def begin(self, connection: Connection, now: float, safe: bool = True) -> None:
        """A thread that is free begins to run the connection's request."""
        free = next(n for n in range(self.row.threads) if not self.row.pad(n).started())
        pad = self.row.pad(free)
        pad.begin(connection.serial, safe, round(now * 1e9), 0, 0, len(REQUEST), REQUEST)


@contextmanager
def clients(connections: Connections) -> Iterator[_Clients]:
    """Connections of clients that have sent a request each."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        yield _Clients(connections, listener, stack)


class _Clients:
    def __init__(self, connections: Connections, listener: socket.socket, stack: ExitStack) -> None:
        self.sockets: dict[Connection, socket.socket] = {}
        self._connections = connections
        self._listener = listener
        self._stack = stack

    def come(self, number: int) -> list[Connection]:
        """So many new ones, whose requests are to be run again."""
        return [self._one() for _ in range(number)]

    def ask_again(self, connection: Connection) -> None:
        """The client of a connection sends its next request, which is to be run again too."""
        self.sockets[connection].sendall(REQUEST)
        connection.rerun_at += len(REQUEST)
        connection.reruns = 0

    def _one(self) -> Connection:
        client = self._stack.enter_context(
            socket.create_connection(self._listener.getsockname()[:2])
        )
        client.sendall(REQUEST)
        sock, (host, port, *_) = self._listener.accept()
        connection = self._connections.add(sock.detach(), 0, host, port, True)
        connection.rerun_at = 0
        self._stack.callback(self._connections.close, connection)
        self.sockets[connection] = client
        return connection


def answer(connection: Connection) -> None:
    """Do as a worker that has answered the request: consume it."""
    with socket.socket(fileno=os.dup(connection.fd)) as sock:
        sock.recv(len(REQUEST), socket.MSG_DONTWAIT)
