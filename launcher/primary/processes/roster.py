"""The processes of the cluster: starts pools and workers, hears from them, notices their ends.

Decides nothing: every fact goes to `Events`, which ``primary/cluster/news.py`` implements.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from functools import partial
from typing import Protocol

from launcher.config.settings import Settings
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import (
    Changed,
    Configured,
    Cut,
    Exited,
    Failed,
    Forked,
    Hello,
    Loaded,
    Message,
    Notice,
    Pinned,
    Proxied,
    Ready,
    Retiring,
    Returned,
    SpawnFailed,
    Spent,
    Unpinned,
)
from launcher.ipc.records import decode
from launcher.ipc.scoreboard import ROWS, Scoreboard, create
from launcher.policy.staffing import EXTERNAL
from launcher.primary.log import log
from launcher.primary.processes.deadlines import LAST_MOMENT, Deadlines
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.pool_process import start_pool
from launcher.primary.processes.reaper import Orphans, ended
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

ConnectionMessage = Returned | Pinned | Unpinned | Proxied | Cut
"""What a worker says about connections it has."""

_Heard = Callable[[Message, list[int]], None]
"""Called with a message and its descriptors. A descriptor that is to be kept is taken out of the
list; the others are closed."""


class Events(Protocol):
    """What can become known about pools and workers."""

    def pool_configured(self, configured: Configured) -> None:
        """gunicorn's configuration is known."""

    def pool_loaded(self, generation: Generation) -> None:
        """The app is loaded; workers can be forked."""

    def app_failed(self, generation: Generation, reason: str, detail: str) -> None:
        """The app cannot be loaded."""

    def pool_exited(self, generation: Generation, status: int) -> None:
        """The pool is dead (``status`` as from wait(2)); its workers may live on."""

    def code_changed(self, generation: Generation, changed: Changed) -> None:
        """A file of the app is not what the generation has loaded."""

    def spawn_failed(self, worker: WorkerHandle, reason: str) -> None:
        """There was no process to be had for this worker."""

    def worker_loaded(self, worker: WorkerHandle) -> None:
        """The worker has the app loaded."""

    def worker_unfit(self, worker: WorkerHandle, what: str) -> None:
        """A worker that was started will not do: ``what`` it did, or did not do."""

    def worker_spent(self, worker: WorkerHandle) -> None:
        """The worker has begun as many requests as it is to."""

    def worker_retires(self, worker: WorkerHandle, reason: str, cause: str) -> None:
        """The worker leaves by itself, in an orderly way."""

    def worker_gone(self, worker: WorkerHandle) -> None:
        """The worker is dead; nothing can be written by it any more."""

    def worker_exited(self, worker: WorkerHandle, status: int) -> None:
        """How a dead worker ended; comes after `worker_gone`."""

    def died_without_pool(self, pid: int, worker_id: int) -> None:
        """A worker whose pool is dead has been collected here."""

    def worker_said(self, worker: WorkerHandle, message: ConnectionMessage) -> None:
        """Something about connections it has."""


class Roster:
    """All pools and workers there are, in one table each."""

    events: Events
    """Is told what becomes known; set before the first launch."""

    def __init__(self, settings: Settings, addresses: list[str], reactor: Reactor) -> None:
        self.generations: list[Generation] = []
        """Those whose pool or workers live."""
        self._addresses = addresses
        self._reactor = reactor
        self._scoreboard_fd = create(settings.threads_max)
        self._scoreboard = Scoreboard(self._scoreboard_fd, settings.threads_max)
        self._free_rows = list(range(ROWS - 1, -1, -1))
        self._last_id = 0
        self._last_generation = 0
        self._exit_awaited: dict[int, WorkerHandle] = {}
        """By id: the dead workers whose exit status has not come yet."""
        self._orphans = Orphans()
        self._deadlines = Deadlines(reactor)

    def workers(self) -> list[WorkerHandle]:
        """All workers that are not dead, by slot and age."""
        alive = (w for generation in self.generations for w in generation.workers.values())
        return sorted(alive, key=lambda worker: (worker.slot, worker.id))

    def generation_of(self, worker: WorkerHandle) -> Generation:
        """The generation that a living worker belongs to."""
        return next(g for g in self.generations if g.number == worker.generation)

    def is_alone(self, generation: Generation) -> bool:
        """Whether no process of another generation is left, not even one that is just ending.

        A process that is ending has closed its channel, but may still hold a port that a server
        hook opened.
        """
        return self.generations == [generation] and not self._orphans

    def launch(self, terms: Terms) -> Generation:
        """Start a pool for the next generation. Raises OSError when it cannot be started."""
        pool = start_pool(terms.environment)
        generation = Generation(self._last_generation + 1, terms, pool)
        try:
            generation.begin(self._addresses, self._scoreboard_fd)
        except OSError:
            pool.end()
            raise
        self._last_generation += 1
        self.generations.append(generation)
        self._watch(generation.channel, partial(self._heard_pool, generation), lambda: None)
        self._deadlines.to_load(generation)
        return generation

    def spawn(self, generation: Generation, slot: int) -> WorkerHandle | None:
        """Have a worker forked; None when the pool cannot be asked now."""
        if not self._free_rows:  # so many are still retiring
            return None
        try:
            channel, theirs = Channel.pair()
        except OSError:  # no descriptors left
            return None
        self._last_id += 1
        index = self._free_rows.pop()
        row = self._scoreboard.row(index)
        row.clear()
        worker = WorkerHandle(
            self._last_id, slot, generation.number, index, row, channel, self._reactor.clock()
        )
        with theirs:
            asked = generation.spawn(worker, theirs.fileno())
        if not asked:
            channel.close()
            self._free_rows.append(index)
            return None
        gone = partial(self._worker_lost, generation, worker)
        self._watch(channel, partial(self._heard_worker, generation, worker), gone)
        self._deadlines.to_be_ready(worker, generation, partial(self.events.worker_unfit, worker))
        return worker

    def reap(self) -> None:
        """Collect every child that has ended."""
        for pid, status in ended():
            worker_id = self._orphans.collected(pid)
            if worker_id:
                self.events.died_without_pool(pid, worker_id)
            else:
                self._reaped(pid, status)

    def close(self) -> None:
        """Release the scoreboard, once those that are ending have ended."""
        self._orphans.wait(self._reactor.clock() + LAST_MOMENT, self._reactor.clock)
        os.close(self._scoreboard_fd)

    def retire(self, worker: WorkerHandle, why: str, within: float | None = None) -> None:
        """Have a worker leave, as `WorkerHandle.retire`; it may have to be forked first.

        ``within``: seconds, after which it is ended by force; None: as long as the cluster
        that stops gives all of them, so that it is final.
        """
        generation = self.generation_of(worker)
        worker.retire(why, final=within is None)
        if worker.pid is None:
            generation.wake()
        if within is not None:
            self._deadlines.to_leave(worker, generation, within)

    def dismiss(self, generation: Generation) -> None:
        """Let the pool of a generation without workers go; end it if it has not gone in time."""
        if not generation.dismissed:
            generation.dismiss()
            self._deadlines.to_end(generation)

    def discard(self, generation: Generation, why: str) -> None:
        """End a generation and its workers now; ``why`` as of `WorkerHandle.leave`."""
        for worker in list(generation.workers.values()):
            worker.leave(why)
            worker.signal(signal.SIGKILL)
            worker.channel.shut()
        generation.dismissed = True
        generation.kill()

    def _reaped(self, pid: int, status: int) -> None:
        for generation in self.generations:
            if generation.alive and generation.pid == pid:
                self._drain(generation.channel, partial(self._heard_pool, generation))
                generation.gone(status)
                self._forget_if_empty(generation)
                self.events.pool_exited(generation, status)
                return
            for worker in [*generation.workers.values(), *self._exit_awaited.values()]:
                if worker.pid == pid:
                    self._exited(generation, worker, status)
                    self.events.died_without_pool(pid, worker.id)
                    return

    def _heard_pool(self, generation: Generation, message: Message, descriptors: list[int]) -> None:
        match message:
            case Configured():
                self.events.pool_configured(message)
            case Loaded():
                generation.loaded = True
                self.events.pool_loaded(generation)
            case Failed(reason, detail):
                generation.error = reason
                self.events.app_failed(generation, reason, detail)
            case Notice(text):
                log(text)
            case Changed():
                self.events.code_changed(generation, message)
            case Forked() | SpawnFailed() | Exited():
                alive = generation.workers.get(message.id)
                worker = alive or self._exit_awaited.get(message.id)
                if worker:
                    self._heard_of_worker(generation, worker, message, descriptors)

    def _heard_of_worker(
        self,
        generation: Generation,
        worker: WorkerHandle,
        message: Forked | SpawnFailed | Exited,
        descriptors: list[int],
    ) -> None:
        match message:
            case Forked(_, pid):
                if descriptors and worker.id in generation.workers:
                    worker.was_forked(pid, descriptors.pop())
            case SpawnFailed(_, reason):
                self._worker_gone(generation, worker)
                self._exit_awaited.pop(worker.id, None)
                self.events.spawn_failed(worker, reason)
            case Exited(_, pid, status):
                worker.pid = worker.pid or pid
                self._exited(generation, worker, status)

    def _heard_worker(
        self, generation: Generation, worker: WorkerHandle, message: Message, _: list[int]
    ) -> None:
        match message:
            case Hello(pid):
                worker.said_hello(pid)
            case Ready():
                self.events.worker_loaded(worker)
            case Failed(reason, detail):
                worker.error = reason
                self.events.app_failed(generation, reason, detail)
            case Spent():
                self.events.worker_spent(worker)
            case Retiring(reason, cause):
                self.events.worker_retires(worker, reason, cause)
            case Returned() | Pinned() | Unpinned() | Proxied() | Cut():
                self.events.worker_said(worker, message)

    def _exited(self, generation: Generation, worker: WorkerHandle, status: int) -> None:
        if worker.id in generation.workers:
            # The channel has not closed: a process that the worker started holds its end open.
            self._drain(worker.channel, partial(self._heard_worker, generation, worker))
            self._worker_gone(generation, worker)
        self._exit_awaited.pop(worker.id, None)
        self.events.worker_exited(worker, status)

    def _worker_lost(self, generation: Generation, worker: WorkerHandle) -> None:
        if worker.pid is None and generation.channel.hung_up():
            worker.leave(EXTERNAL)  # it was never forked: the end of its pool is what counts
        self._worker_gone(generation, worker)

    def _worker_gone(self, generation: Generation, worker: WorkerHandle) -> None:
        if generation.workers.pop(worker.id, None) is None:
            return
        worker.gone()
        self._exit_awaited[worker.id] = worker
        # Before the event: nothing may come after the last worker of a dead pool.
        self._forget_if_empty(generation)
        self.events.worker_gone(worker)
        self._free_rows.append(worker.row_index)

    def _forget_if_empty(self, generation: Generation) -> None:
        if not generation.alive and not generation.workers:
            self.generations.remove(generation)
            for worker in list(self._exit_awaited.values()):
                if worker.generation == generation.number:
                    del self._exit_awaited[worker.id]
                    self._orphans.add(worker)

    def _watch(self, channel: Channel, heard: _Heard, closed: Callable[[], None]) -> None:
        def readable(_fd: int, _events: int) -> None:
            if not self._drain(channel, heard):
                self._reactor.forget(channel.fd)
                channel.close()
                closed()

        self._reactor.watch(channel.fd, select.EPOLLIN, readable)

    @staticmethod
    def _drain(channel: Channel, heard: _Heard) -> bool:
        """Pass on what has been said; False when the other side is gone."""
        try:
            while received := channel.receive():
                record, descriptors = received
                try:
                    heard(decode(record), descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
        except ChannelClosed:
            return False
        return True
