"""What the primary's parts can be tested with, without a process: only the clock is false."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

from launcher.config.settings import Settings
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Deal, Deals, Message
from launcher.ipc.records import decode
from launcher.ipc.scoreboard import Scoreboard, create
from launcher.primary.cluster.first_start import FirstStart
from launcher.primary.cluster.primary import Primary
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.roster import Events
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

    def leave(self) -> None:
        """Have `run` return: what has happened to descriptors was served then."""
        self._running = False

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


class FakeGeneration(Generation):
    """A generation whose pool is no process: it loads, forks and ends when the test says so."""

    def __init__(self, number: int, terms: Terms, stack: ExitStack) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        stack.enter_context(theirs)
        pool: Any = SimpleNamespace(sock=ours, process=SimpleNamespace(pid=number, returncode=None))
        super().__init__(number, terms, pool)
        self.signals: list[signal.Signals] = []
        """What was sent to the pool."""

    def _signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


class FakeRoster:
    """The table of processes, of which there is none. It notes what it is asked to do."""

    events: Events

    def __init__(self, stack: ExitStack, reactor: FakeReactor) -> None:
        self.generations: list[FakeGeneration] = []
        self.done: list[str] = []
        """``launch 1``, ``fork 1/0`` (generation, slot), ``retire 3 reload``, ``dismiss 1``…"""
        self.out_of_processes = self.out_of_descriptors = False
        self._stack = stack
        self._reactor = reactor
        self._last_id = self._last_number = 0

    def workers(self) -> list[FakeWorker]:
        return [
            worker
            for generation in self.generations
            for worker in generation.workers.values()
            if isinstance(worker, FakeWorker)
        ]

    def worker(self, worker_id: int) -> FakeWorker:
        return next(worker for worker in self.workers() if worker.id == worker_id)

    def generation_of(self, worker: WorkerHandle) -> FakeGeneration:
        return next(each for each in self.generations if worker.id in each.workers)

    def is_alone(self, generation: FakeGeneration) -> bool:
        return self.generations == [generation]

    def launch(self, terms: Terms) -> FakeGeneration:
        self._last_number += 1
        if self.out_of_processes:
            self.done.append("no pool")
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.done.append(f"launch {self._last_number}")
        self.generations.append(FakeGeneration(self._last_number, terms, self._stack))
        return self.generations[-1]

    def spawn(self, generation: FakeGeneration, slot: int) -> FakeWorker | None:
        if self.out_of_descriptors:
            self.done.append(f"no fork {generation.number}/{slot}")
            return None
        self._last_id += 1
        worker = FakeWorker(
            self._last_id,
            self._stack,
            slot=slot,
            generation=generation.number,
            now=self._reactor.now,
        )
        worker.pid = 10_000 + worker.id
        generation.workers[worker.id] = worker
        self.done.append(f"fork {generation.number}/{slot}")
        return worker

    def retire(self, worker: WorkerHandle, why: str, within: float | None = None) -> None:
        worker.retire(why, final=within is None)
        self.done.append(f"retire {worker.id} {why}{'' if within else ', finally'}")

    def dismiss(self, generation: FakeGeneration) -> None:
        if not generation.dismissed:
            generation.dismissed = True
            self.done.append(f"dismiss {generation.number}")

    def discard(self, generation: FakeGeneration, why: str) -> None:
        for worker in generation.workers.values():
            worker.leave(why)
        generation.dismissed = True
        self.done.append(f"discard {generation.number} {why}")

    def close(self) -> None:
        self.done.append("close")

    # What happens to the processes

    def loaded(self, number: int) -> None:
        """The pool of this generation has loaded the app."""
        generation = self._generation(number)
        generation.loaded = True
        self.events.pool_loaded(generation)

    def ready(self, *ids: int) -> None:
        """These workers have the app loaded."""
        for each in ids:
            self.events.worker_loaded(self.worker(each))

    def died(self, worker_id: int, status: int = signal.SIGKILL) -> None:
        """This worker is dead, and how that came is known at once."""
        worker = self.worker(worker_id)
        self.gone(worker_id)
        self.events.worker_exited(worker, status)

    def gone(self, worker_id: int) -> None:
        """This worker is dead, and how that came is not known yet."""
        worker = self.worker(worker_id)
        generation = self.generation_of(worker)
        del generation.workers[worker_id]
        worker.gone()
        self._forget_if_empty(generation)
        self.events.worker_gone(worker)

    def pool_died(self, number: int, status: int = signal.SIGKILL) -> None:
        """The pool of this generation is dead."""
        generation = self._generation(number)
        generation.alive = False
        self._forget_if_empty(generation)
        self.events.pool_exited(generation, status)

    def _forget_if_empty(self, generation: FakeGeneration) -> None:
        if not generation.alive and not generation.workers:
            self.generations.remove(generation)

    def _generation(self, number: int) -> FakeGeneration:
        return next(each for each in self.generations if each.number == number)


class FakeTraffic:
    """The connections, of which there is none. It notes who is to serve."""

    def __init__(self) -> None:
        self.ring: list[int] = []
        """The workers that connections are dealt to, by id."""
        self.hopeless = False
        self.taking_leave = False
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")

    def serve_with(self, workers: Sequence[WorkerHandle], hopeless: bool) -> None:
        self.ring = [worker.id for worker in workers]
        self.hopeless = hopeless

    def size_for(self, workers: int) -> None:
        self.done.append(f"size for {workers}")

    def admit_no_more(self) -> None:
        self.done.append("admit no more")

    def end(self) -> None:
        self.done.append("end")

    def close(self) -> None:
        self.done.append("close")

    def welcome(self, worker: WorkerHandle) -> None:
        self.done.append(f"welcome {worker.id}")

    def spread(self, workers: Sequence[WorkerHandle]) -> None:
        self.done.append(f"spread over {len(workers)}")

    def rescue(self, worker: WorkerHandle) -> None:
        self.done.append(f"rescue {worker.id}")

    def exited(self, worker: WorkerHandle, status: int) -> None:
        self.done.append(f"exited {worker.id}: {status}")


class FakeCluster:
    """A primary whose processes, connections and clock are the test's."""

    def __init__(
        self,
        stack: ExitStack,
        settings: Settings,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.reactor = FakeReactor()
        stack.callback(self.reactor.close)
        self.roster = FakeRoster(stack, self.reactor)
        self.traffic = FakeTraffic()
        roster, traffic = cast("Any", self.roster), cast("Any", self.traffic)
        self.primary = Primary(
            Terms(settings), [], self.reactor, roster, traffic, FirstStart(False, on_ready)
        )
        self.began = self.reactor.now

    def done(self) -> list[str]:
        """What the table of processes was asked to do since then."""
        done, self.roster.done[:] = [*self.roster.done], []
        return done

    def online(self) -> FakeCluster:
        """Start, and have all workers ready: their ids are 1 and up, in slots 0 and up."""
        self.primary.start()
        self.roster.loaded(1)
        while self.primary.empty_slots() or not self.primary.calm:
            self.roster.ready(*(w.id for w in self.roster.workers()))
        self.done()
        return self

    def stood_up(self) -> FakeCluster:
        """As `online`, and all of them have been online for a second."""
        self.online()
        self.reactor.advance(1.0)
        self.primary.step()
        return self


class FakeOutcome:
    """Of a change: what was told of it."""

    def __init__(self) -> None:
        self.result: Any = None
        self.refusal: tuple[str, str] | None = None

    def done(self, result: Any) -> None:
        self.result = result

    def refused(self, message: str, detail: str = "") -> None:
        self.refusal = message, detail


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
