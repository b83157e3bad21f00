"""One load of the app, seen from the primary: the pool process and its workers.

What runs inside the pool is ``pool/``. A pool is started with exec, so it is
a fresh interpreter: new code, new virtual environment, new environment.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.config.settings import Settings
from launcher.ipc.boot import Boot
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Alone, Begin, Buried, Look, Reopen, Scaled, Spawn
from launcher.ipc.records import encode
from launcher.policy.lifecycle import WorkerState
from launcher.primary.log import folder
from launcher.primary.processes.pool_process import PoolProcess
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Timer


@dataclass(frozen=True, slots=True)
class Terms:
    """What a generation is loaded with. A reload may bring other terms; they come with it."""

    settings: Settings
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """The variables of the pool; None: those of the primary."""
    mark: str = ""
    """Tells the command line whether the variables in the configuration have changed since."""


class Generation:
    """A pool and the workers it forked. Workers may outlive their pool, but then no more come."""

    def __init__(self, number: int, terms: Terms, pool: PoolProcess) -> None:
        self.number = number
        self.terms = terms
        self.loaded = False
        """Whether the pool has loaded the app (or left that to its workers)."""
        self.alone = number == 1
        """Whether the pool knows that no other generation is left; see `Succession`."""
        self.workers_told = terms.settings.wanted
        """How many workers there are to be, as far as the pool knows."""
        self.proven = False
        """Whether any of its workers has been ready."""
        self.alive = True
        """Whether the pool's exit has not been collected yet."""
        self.workers: dict[int, WorkerHandle] = {}
        """By id: all that are not dead."""
        self.deadline: Timer | None = None
        """Ends the generation when it does not become ready in time."""
        self.error: str | None = None
        """Why the pool ends, if it could say so."""
        self.dismissed = False
        """Whether the pool was told to go, or killed."""
        self.channel = Channel(pool.sock)
        self._process = pool.process

    @property
    def can_fork(self) -> bool:
        """Whether workers can be had from it."""
        return self.alive and self.loaded

    @property
    def pid(self) -> int:
        """The pool's process id."""
        return self._process.pid

    def begin(self, addresses: list[str], scoreboard: int) -> None:
        """Have the pool load the app. Raises OSError when it cannot be told now."""
        logs = folder()
        with Boot(self.terms.settings, addresses, self.number).as_file() as boot:
            given = [boot.fileno(), scoreboard, *([] if logs is None else [logs])]
            with contextlib.suppress(ChannelClosed):  # it is dead: its exit tells how
                if not self.channel.send(encode(Begin()), given):
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def spawn(self, worker: WorkerHandle, theirs: int) -> bool:
        """Ask the pool to fork ``worker``, whose end of the channel is ``theirs``."""
        try:
            sent = self.channel.send(
                encode(Spawn(worker.id, worker.slot, worker.row_index)), (theirs,)
            )
        except ChannelClosed:
            return False
        if sent:
            self.workers[worker.id] = worker
        return sent

    def tell(
        self,
        message: Reopen | Look | Alone | Buried | Scaled,
        descriptors: tuple[int, ...] = (),
    ) -> bool:
        """Send a message to the pool; False: it is dead, behind, or still loads the app."""
        try:
            return self.can_fork and self.channel.send(encode(message), descriptors)
        except ChannelClosed:
            return False

    def online(self) -> list[WorkerHandle]:
        """The workers that can be dealt connections, by slot."""
        ready = (w for w in self.workers.values() if w.state is WorkerState.ONLINE)
        return sorted(ready, key=lambda worker: worker.slot)

    def dismiss(self) -> None:
        """Let the pool go: it collects its workers, tells how they ended, and leaves."""
        self.dismissed = True
        self.channel.say_no_more()
        self.wake()

    def wake(self) -> None:
        """Continue the pool, if it was stopped (SIGSTOP), so that it does what it was told."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the pool now. Only while its exit has not been collected."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def gone(self, status: int) -> None:
        """The pool's exit was collected (``status`` as from wait(2))."""
        self.alive = False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self.deadline:
            self.deadline.cancel()
        self.channel.shut()
