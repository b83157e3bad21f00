"""gunicorn's arbiter under orders: the primary says which worker to fork and when.

The only subclass of gunicorn's arbiter; every override says why. Policy
(how many, when again, which one is too slow) is the primary's, so what is left is
what gunicorn does best: fork a worker in order, with its hooks, and reap it.
``tests/test_gunicorn_seam.py`` names every internal that is overridden.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.workers.base import Worker as GunicornWorker
from setproctitle import setproctitle

from launcher import signals
from launcher.ipc.boot import Boot
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import (
    Alone,
    Buried,
    Changed,
    Exited,
    Forked,
    Look,
    Message,
    Reopen,
    Scaled,
    Spawn,
    SpawnFailed,
)
from launcher.ipc.records import decode, encode, shortened
from launcher.ipc.scoreboard import Scoreboard
from launcher.logs.streams import Output
from launcher.pool.hooks import Hooks
from launcher.pool.loading.application import Application
from launcher.pool.loading.source_watch import INTERVAL, SourceWatch
from launcher.pool.orders import Orders

_MOST_PATHS = 20
"""Changed files in one message, where they fit at 1,000 characters each."""

_ORPHAN_GRACE = 4.0
"""Seconds that workers get to leave by themselves once the primary is gone."""

_EXHAUSTED = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
    }
)
"""A fork that fails so may succeed in a while: too few processes, descriptors or bytes."""


class Arbiter(GunicornArbiter):
    """Forks the workers it is told to and reports how they end."""

    # gunicorn keeps these on the class; an instance of ours owns its own.
    WORKERS: dict[int, GunicornWorker]
    LISTENERS: list[socket.socket]

    def __init__(
        self,
        app: Application,
        channel: Channel,
        scoreboard: int,
        boot: Boot,
        output: Output,
        sources: SourceWatch | None,
    ) -> None:
        self.WORKERS = {}
        self.LISTENERS = []
        self._channel = channel
        self._boot = boot
        self._output = output
        self._sources = sources
        self._next_look = time.monotonic() + INTERVAL
        self._scoreboard = Scoreboard(scoreboard, boot.settings.threads_max)
        self._orders: deque[tuple[Spawn, socket.socket]] = deque()
        self._being_spawned: Orders | None = None
        self._hooks = Hooks(self, boot.generation)
        super().__init__(app)

    def setup(self, app: Application) -> None:
        """Overridden: the app is loaded already, or the workers load it."""
        super().setup(app)
        self._make_worker: Callable[..., GunicornWorker] = self.worker_class
        self.worker_class = self._worker_with_orders
        self._post_fork: Callable[[GunicornArbiter, GunicornWorker], None] = self.cfg.post_fork
        self.cfg.set("post_fork", self._in_the_worker)

    def start(self) -> None:
        """Overridden: gunicorn's opens listeners and writes a pid file, which are the primary's."""
        self.pid = os.getpid()
        self._hooks.begin()
        self.init_signals()
        self._hooks.ready()

    def init_signals(self) -> None:
        """Overridden: signals and the channel end the same wait."""
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signals.set_aside()

    def run(self) -> None:
        """Overridden: gunicorn's wakes once a second and decides; ours waits and obeys.

        Returns when the primary lets us go. What a server hook raises goes through.
        """
        setproctitle(f"launcher: pool [{self._boot.settings.name}] gen {self._boot.generation}")
        self.start()
        # Pool and workers share the pages of what is loaded until a process writes to one.
        # The garbage collector writes to all that it looks at; what is frozen it passes over.
        # No collection before: each worker would fill the holes, and unshare pages (gc.freeze).
        gc.freeze()
        waiting = select.poll()
        waiting.register(self._channel.fd, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        try:
            while True:
                waiting.poll(INTERVAL * 1000 if self._sources else self._output.tick)
                self._output.look_after()
                self._wake_up()
                self._receive()
                self.reap_workers()
                self.manage_workers()
                self._look_at_sources()
        except ChannelClosed:
            self._wait_for_orphans()
        self._hooks.end()

    def manage_workers(self) -> None:
        """Overridden: fork what was ordered, nothing else."""
        while self._orders:
            spawn, sock = self._orders.popleft()
            self._fork(spawn, sock)
            # A worker that leaves does not return to here: it may still wait for threads of the
            # app, and its end of the channel stays open until the process has ended.
            sock.close()

    def reap_workers(self) -> None:
        """Overridden: gunicorn's halts when a worker cannot boot; ours reports every end."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self.WORKERS.pop(pid, None)
            if worker:
                worker.tmp.close()
                self._hooks.child_exit(worker)
                self._report(Exited(worker.age, pid, status))

    def _receive(self) -> None:
        while received := self._channel.receive():
            record, descriptors = received
            self._heard(decode(record), descriptors)

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Spawn() if descriptors:
                self._orders.append((message, socket.socket(fileno=descriptors[0])))
            case Spawn():  # no descriptor was free for the one that came along
                self._report(SpawnFailed(message.id, "too many open files"))
            case Reopen():
                if self.log:
                    self.log.reopen_files()
                for folder in descriptors:
                    self._output.move_to(folder)
                    os.close(folder)
                self._output.look_after()
            case Look():
                self._look_at_sources(asked=True)
            case Alone() | Buried() | Scaled():
                self._hooks.heard(message)
            case _:
                raise AssertionError(message)

    def _fork(self, spawn: Spawn, sock: socket.socket) -> None:
        # gunicorn numbers workers itself, from 1; the primary's ids span pools.
        self.worker_age = spawn.id - 1
        self._being_spawned = Orders(
            id=spawn.id,
            slot=spawn.slot,
            generation=self._boot.generation,
            row=self._scoreboard.row(spawn.row),
            board=self._scoreboard,
            sock=sock,
            settings=self._boot.settings,
            addresses=self._boot.addresses,
            output=self._output,
            leave_the_pool=self._leave_the_pool,
        )
        try:
            pid = self.spawn_worker()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._report(SpawnFailed(spawn.id, error.strerror or str(error)))
            return
        with contextlib.suppress(OSError):  # no descriptors left: the worker says hello itself
            pidfd = os.pidfd_open(pid)
            try:
                self._report(Forked(spawn.id, pid), (pidfd,))
            finally:
                os.close(pidfd)

    def _worker_with_orders(self, *args: Any) -> GunicornWorker:
        worker: Any = self._make_worker(*args)
        worker.orders = self._being_spawned
        return cast(GunicornWorker, worker)

    def _in_the_worker(self, _: GunicornArbiter, worker: Any) -> None:
        """Run in place of the hook that is called first in the new process."""
        worker.become()
        with worker.failure_told():
            self._post_fork(self, worker)

    def _leave_the_pool(self) -> None:
        """In a new worker: close the pool's descriptors. Else the primary misses ends of file."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        self._channel.close()
        for _, sock in self._orders:
            sock.close()

    def _look_at_sources(self, asked: bool = False) -> None:
        if self._sources and (asked or time.monotonic() >= self._next_look):
            self._next_look = time.monotonic() + INTERVAL
            paths = self._sources.changed()[:_MOST_PATHS]
            if paths or asked:
                self._report(Changed([shortened(path, 1_000) for path in paths], asked))

    def _report(
        self, message: Changed | Exited | Forked | SpawnFailed, descriptors: tuple[int, ...] = ()
    ) -> None:
        with contextlib.suppress(ChannelClosed):  # the next receive raises it again
            self._channel.send(encode(message), descriptors)

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _wait_for_orphans(self) -> None:
        """Wait for the workers, which have seen the same end of file; kill the stuck ones."""
        deadline = time.monotonic() + _ORPHAN_GRACE
        waiting = select.poll()
        waiting.register(self._wake_read, select.POLLIN)
        self.reap_workers()
        while self.WORKERS and (left := deadline - time.monotonic()) > 0:
            waiting.poll(left * 1000)
            self._wake_up()
            self.reap_workers()
        for pid in self.WORKERS:
            os.kill(pid, signal.SIGKILL)
