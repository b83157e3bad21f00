"""What the primary's parts can be tested with, without a process: only the clock is false."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Deal, Deals, Message
from launcher.ipc.records import decode
from launcher.ipc.scoreboard import Scoreboard, create
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class FakeReactor(Reactor):
    """A reactor whose time passes when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.stopped = False
        super().__init__(clock=lambda: self.now)

    def stop(self) -> None:
        """Note that the loop would end."""
        self.stopped = True

    def look(self) -> None:
        """Serve what has happened to descriptors by now."""

        def leave() -> None:
            self._running = False

        self.call_later(0, leave)
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way happens at its time."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now = max(self.now, self._timers[0][0])
            self._fire_due()
        self.now = until


class FakeWorker(WorkerHandle):
    """A worker of which there is only the primary's record; the test runs its requests."""

    def __init__(
        self,
        number: int,
        stack: ExitStack,
        threads: int = 4,
        *,
        slot: int | None = None,
        generation: int = 1,
        now: float = 0.0,
    ) -> None:
        ours, theirs = Channel.pair()
        stack.callback(ours.close)
        stack.enter_context(theirs)
        self.signals: list[signal.Signals] = []
        """What was sent to its process."""
        self._theirs = Channel(theirs)
        self._stack = stack
        memory = create(threads)
        stack.callback(os.close, memory)
        row = Scoreboard(memory, threads).row(number)
        row.living = row.capacity = threads
        row.heartbeat = 2**62  # it is always well
        place = number if slot is None else slot
        super().__init__(number, place, generation, number, row, ours, now)

    def signal(self, number: signal.Signals) -> None:
        """Note it: there is no process."""
        self.signals.append(number)

    def serve(self, requests: int) -> None:
        """Have so many requests answered."""
        pad = self.row.pad(0)
        for _ in range(requests):
            pad.begin(1, True, 1, 0, 0, 0, REQUEST)
            pad.end(1000)

    def heard(self) -> list[Message]:
        """What the primary has told it since it was asked last; `Deals` are taken to heart."""
        messages = []
        with suppress(ChannelClosed):
            while received := self._theirs.receive():
                record, descriptors = received
                for descriptor in descriptors:
                    os.close(descriptor)
                messages.append(decode(record))
        return messages

    def dealt(self) -> list[list[Deal]]:
        """The connections it was dealt since then, as they came together; taken from now on."""
        found = [message.deals for message in self.heard() if isinstance(message, Deals)]
        self.row.taken += sum(map(len, found))
        return found

    def asked(self) -> list[socket.socket]:
        """The sockets that it was dealt since then, on which it reads requests."""
        found = []
        while received := self._theirs.receive():
            found += [self._stack.enter_context(socket.socket(fileno=fd)) for fd in received[1]]
        return found

    def fall_behind(self) -> None:
        """Its channel takes nothing more until it hears."""
        while self.channel.send(b"." * 4096):
            pass

    def catch_up(self) -> None:
        """Read what `fall_behind` has put into the channel, and all before."""
        while received := self._theirs.receive():
            for descriptor in received[1]:
                os.close(descriptor)

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
