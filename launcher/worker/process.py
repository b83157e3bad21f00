"""A worker: its birth, its main thread, its end. What it serves with is `Crew`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

from gunicorn.workers.base import Worker as GunicornWorker
from setproctitle import setproctitle

from launcher import current_worker, signals
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Failed, Hello, Message, Ready, Retiring, Spent
from launcher.ipc.records import encode
from launcher.policy.fitness import staggered
from launcher.pool import APP_FAILED, WORKER_FAILED
from launcher.pool.loading.load_error import LoadError
from launcher.pool.orders import Orders
from launcher.worker import forked
from launcher.worker.budget import counted
from launcher.worker.threads.crew import Crew
from launcher.worker.threads.desk import CADENCE

_TICK = 0.5

_ORPHAN_GRACE = 3.0
"""Seconds that running requests have once the primary is gone."""


class Worker(GunicornWorker):
    """gunicorn's worker, except that connections come over the channel.

    The main thread runs no request: it keeps time, handles signals and ends
    the process. The crew's threads run the app.
    """

    orders: Orders

    @property
    def nr(self) -> int:
        """How many requests the worker has begun, for gunicorn's hooks; the scoreboard counts."""
        row = self.orders.row
        return row.requests() + row.busy()

    @nr.setter
    def nr(self, value: int) -> None:
        """Nothing: gunicorn sets it to 0 at first, and the row begins with 0 too."""

    def become(self) -> None:
        """Be the worker that was ordered: in the new process, before any code of the user's."""
        orders = self.orders
        orders.leave_the_pool()
        orders.output.become(str(orders.slot))
        current_worker.id = orders.id
        current_worker.slot = orders.slot
        current_worker.generation = orders.generation
        os.environ["WORKER_ID"] = str(orders.id)
        os.environ["WORKER_SLOT"] = str(orders.slot)
        name = orders.settings.name
        setproctitle(f"launcher: worker {orders.id} slot {orders.slot} [{name}]")
        self._channel = Channel(orders.sock)

    def init_process(self) -> None:
        """Overridden: say hello, and report what ends the worker to the primary."""
        orders = self.orders
        if self.cfg.uid != os.geteuid():
            orders.output.give_to(self.cfg.uid, self.cfg.gid)
        self.tell(Hello(os.getpid()))
        with self.failure_told():
            super().init_process()

    @contextlib.contextmanager
    def failure_told(self) -> Iterator[None]:
        """Report what ends the worker to the primary: what a hook raises, as a rule."""
        try:
            yield
        except LoadError as error:
            self.tell(Failed(error.reason, error.detail))
            sys.exit(APP_FAILED)
        except Exception as error:
            failure = LoadError.from_a_hook(error, "a worker")
            self.tell(Failed(failure.reason, failure.detail))
            sys.exit(WORKER_FAILED)

    def load_wsgi(self) -> None:
        """Overridden: raises LoadError where the app cannot be loaded; see `failure_told`."""
        self.wsgi = self.app.wsgi()
        signals.insist(signal.SIGTERM)
        self._count_requests()

    def _count_requests(self) -> None:
        """Have the primary told when the worker has begun ``--max-requests``."""
        orders, settings = self.orders, self.orders.settings
        if settings.max_requests:
            limit = int(staggered(settings.max_requests, orders.slot, settings.wanted))
            limit += (
                settings.health_path is not None
            )  # the primary's own request, which asks for the health
            self.wsgi = counted(self.wsgi, limit, self._spent)

    def _spent(self) -> None:
        self._crew.pause()
        self.tell(Spent())

    def init_signals(self) -> None:
        """Overridden: gunicorn's would replace handlers that the app has installed as it loaded."""
        signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)
        signals.react(
            {
                signal.SIGTERM: self.handle_exit,
                signal.SIGQUIT: self.handle_quit,
                signal.SIGUSR1: self.handle_usr1,
            }
        )
        signals.give_back()
        signals.insist(signal.SIGTERM)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGTERM: leave in an orderly way. The main loop does the rest."""
        self.alive = False

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """SIGUSR1: open the log files anew, gunicorn's here and ours in the main loop."""
        super().handle_usr1(sig, frame)
        self.wake()

    def reopen_logs(self, folders: list[int]) -> None:
        """Leave log files that were renamed. For any thread.

        ``folders``: in the background, a descriptor of the folder they are in now.
        """
        self.log.reopen_files()
        for folder in folders:
            self.orders.output.move_to(folder)
            os.close(folder)
        self.orders.output.look_after()

    def tell(self, message: Message) -> None:
        """Say something to the primary, if it is still there. For any thread."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send_surely(encode(message))

    def wake(self) -> None:
        """Have the main thread look again. For any thread."""
        with contextlib.suppress(BlockingIOError):  # full: the main thread is going to look anyway
            os.write(self.PIPE[1], b"w")

    def run(self) -> None:
        """Overridden: serve until told to leave."""
        self.app.refuse_if_patched()  # a hook may have patched: post_fork is a usual place
        crew = self._crew = Crew(self, self.orders, self, self._channel)
        forked.watch()
        crew.start()
        self.tell(Ready())
        waiting = select.poll()
        waiting.register(self.PIPE[0], select.POLLIN)
        next_round = 0.0
        while not (crew.retiring and crew.leave_if_idle()):
            waiting.register(crew.events_fd, select.POLLIN if crew.desk.open else 0)
            woken = any(fd == self.PIPE[0] for fd, _ in waiting.poll(self._patience(crew) * 1000))
            if woken:
                os.read(self.PIPE[0], 4096)
            now = time.monotonic()
            crew.sit_at_the_desk(now)
            if not (woken or crew.retiring) and now < next_round:
                continue
            next_round = now + _TICK
            self.orders.row.heartbeat = int(now * 1e9)
            self.orders.output.look_after()
            crew.go_round(now)
            overdue = crew.end_overdue(time.monotonic_ns())
            if overdue and not crew.retiring:
                self.tell(Retiring(overdue, "timeout"))
                crew.retire(final=False)
                self._abort()
            if crew.orphaned:
                self._finish_as_orphan(crew, now)
            elif not self.alive and not crew.retiring:
                self.tell(Retiring("it was asked to by SIGTERM", ""))
                crew.retire(final=False)

    def _patience(self, crew: Crew) -> float:
        """Seconds until the main thread has something to do, if it is not woken before."""
        tick = CADENCE if crew.desk.open or len(crew.queue) else _TICK
        if not crew.retiring:
            return tick
        return min(tick, max(0.0, crew.soonest() - time.monotonic()))

    def _abort(self) -> None:
        """Run the hook that gunicorn has for a worker whose request has taken too long."""
        try:
            self.cfg.worker_abort(self)
        except Exception:
            self.log.exception("Exception in worker_abort hook")

    def _finish_as_orphan(self, crew: Crew, now: float) -> None:
        """The primary is gone, so no connection will come: finish what runs, but not for long."""
        if not crew.final:
            crew.retire(final=True)
            self._orphan_deadline = now + _ORPHAN_GRACE
        if now >= self._orphan_deadline:
            os._exit(0)
