"""A cluster without a process: its pools, workers, connections and clock are false."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

from launcher.config.settings import Settings
from launcher.primary.cluster.first_start import FirstStart
from launcher.primary.cluster.primary import Primary
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.roster import Events
from launcher.primary.processes.worker_handle import WorkerHandle
from tests.fakes import FakeReactor, FakeWorker


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
