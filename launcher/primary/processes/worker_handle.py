"""A worker, seen from the primary. What runs inside it is ``worker/process.py``."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.events.fact import Worker
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Deal, Deals, Drain, Message, Resume, Retire
from launcher.ipc.records import encode
from launcher.ipc.scoreboard import Row
from launcher.policy.fitness import Overweight, Pulse
from launcher.policy.lifecycle import WorkerState, advance
from launcher.policy.restart import STOOD_UP
from launcher.primary.reactor import Timer
from launcher.proc import usage

_NO_SERIAL = 0
"""The serial of a health check's socket. That is not a client's connection: it is not in the
table of connections, and never rescued."""

_NO_PROXY = "UNKNOWN"
"""What a PROXY header says of a connection that the proxy opened for itself, without a client."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Why a worker leaves, or is to. Its end is no crash then."""

    why: str
    """The reason in `LastExit`: reload, restart, scale, stop, timeout, memory, recycle…"""
    counted: bool = False
    """Whether the worker itself is the reason; then ``restarts`` counts it as ``why``."""
    once_replaced: bool = False
    """Whether it serves until its replacement is ready."""


class WorkerHandle:
    """The primary's record of one worker: its identity, its channel, what it was dealt."""

    def __init__(
        self,
        worker_id: int,
        slot: int,
        generation: int,
        row_index: int,
        row: Row,
        channel: Channel,
        now: float,
    ) -> None:
        self.id = worker_id
        self.slot = slot
        self.generation = generation
        self.row_index = row_index
        self.row = row
        self.channel = channel
        self.state = WorkerState.LAUNCHING
        self.pid: int | None = None
        self.since = now
        """When the worker was started; once it is ready, when it became so. Monotonic seconds."""
        self._was_ready = False
        self.leaving: Leaving | None = None
        """Set by `leave` alone; None: it is to stay."""
        self.error = ""
        """Why it ends, if it could say so: an exception."""
        self.spent = False
        """Whether the worker has begun ``--max-requests`` requests."""
        self.paused = False
        """Whether the worker gives back what it is dealt, because it is spent."""
        self.overdue: frozenset[int] = frozenset()
        """Serials of the connections for whose requests the worker is killed."""
        self.pulse = Pulse()
        self.overweight = Overweight()
        self.deadline: Timer | None = None
        """Ends the worker when it is late: to say hello, or to leave."""
        self.held = 0
        """Connections that were dealt to it and that it still has; `Connections` counts them."""
        self._unheard: list[Drain | Retire] = []
        """Messages that the worker was too far behind to be sent, in their order."""
        self._promised = 0
        self._forgotten = 0
        self._pidfd: int | None = None
        self._cpu_sample = (now, 0.0)
        self._cpu_percent = 0.0

    def __str__(self) -> str:
        return str(self.identity)

    @property
    def identity(self) -> Worker:
        """Which worker it is, for events."""
        return Worker(self.id, self.slot, self.pid, self.generation)

    @property
    def requests(self) -> int:
        """Requests it has answered, since it was started or the counters were set to zero."""
        return self.row.requests() - self._forgotten

    def forget_requests(self) -> None:
        """Count requests from zero again; the worker itself goes on counting."""
        self._forgotten = self.row.requests()

    @property
    def connections(self) -> int:
        """Connections it has, idle ones included."""
        return self.held + self.row.connections

    def load(self) -> int:
        """Requests it has to answer plus connections dealt to it that it has not taken yet."""
        return self.row.unanswered() + self._promised - self.row.taken

    def room(self) -> int:
        """How many requests more it can run at once, as things are."""
        alive = self.row.is_alive(time.monotonic_ns())
        return self.row.capacity - self.load() if alive else 0

    def held_up(self) -> float:
        """Seconds for which all threads of the worker have been busy; 0: one is free.

        A worker that may still start more threads always has a free one.
        """
        since = self.row.all_busy_since()
        return (time.monotonic_ns() - since) * 1e-9 if since else 0.0

    def was_forked(self, pid: int, pidfd: int) -> None:
        """The worker exists. From here on it can be signalled, by the descriptor, which is ours."""
        self.pid = pid
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._pidfd = pidfd

    def said_hello(self, pid: int) -> None:
        """The worker has come as far as its channel; as `was_forked`, if that went unheard."""
        self.pid = pid
        if self._pidfd is not None:
            return
        # The channel is open, so the pid is still the worker's: a pidfd taken
        # now can never come to mean another process.
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(pid)

    def ready(self, now: float) -> None:
        """The worker can be dealt connections."""
        self.state = advance(self.state, WorkerState.ONLINE)
        self.since = now
        self._was_ready = True
        if self.deadline:
            self.deadline.cancel()

    def stood_up(self, now: float) -> bool:
        """Whether it has lived: answered a request, or been online for a second."""
        if not self._was_ready:
            return False
        return self.row.requests() > 0 or now - self.since >= STOOD_UP

    def promise(self) -> None:
        """Count a connection that is about to be dealt to the worker as part of its load."""
        self._promised += 1

    def ask(self, fd: int) -> None:
        """Hand over a socket of ours that a request is sent on, to see whether it is well."""
        self.promise()
        deal = Deal(_NO_SERIAL, 0, 0, 0, 0, False, 0.0, "127.0.0.1", _NO_PROXY)
        self.hand_over([deal], (fd,))

    def hand_over(self, deals: list[Deal], descriptors: Sequence[int]) -> bool:
        """Pass on what was promised, all or nothing; False when the worker is behind or gone.

        Not more than `MAX_DESCRIPTORS` at once.
        """
        try:
            sent = self.channel.send(Deals(deals).pack(), descriptors)
        except ChannelClosed:
            sent = False  # the end of file is about to say so
        if not sent:
            self._promised -= len(deals)
        return sent

    def tell(self, message: Message, descriptors: tuple[int, ...] = ()) -> bool:
        """Send a message; False when the worker is behind. True also when it is gone."""
        with contextlib.suppress(ChannelClosed):
            return self.channel.send(encode(message), descriptors)
        return True

    def drain(self) -> None:
        """Have each response end its connection; the worker goes on serving new connections."""
        self._unheard.append(Drain())
        self.repeat()

    def resume(self) -> None:
        """Have it serve again, if it is paused."""
        if self.paused:
            self.paused = not self.tell(Resume())

    @property
    def replaced(self) -> bool:
        """Whether it serves only until its replacement is ready."""
        return self.leaving is not None and self.leaving.once_replaced

    def leave(self, why: str, counted: bool = False, once_replaced: bool = False) -> None:
        """Note why it leaves, or is to; see `Leaving`.

        The first reason counts, but one that is the worker's own comes before all others.
        """
        if self.leaving is None or counted:
            self.leaving = Leaving(why, counted, once_replaced)

    def stay(self) -> None:
        """Its replacement will not do: it is to stay, unless it leaves already."""
        if self.replaced and self.state is WorkerState.ONLINE:
            self.leaving = None

    def retire(self, why: str, final: bool) -> None:
        """Ask it to finish what it runs and leave; ``why`` as of `leave`.

        A process that was stopped (SIGSTOP) could not: it is continued, as systemd does
        with what it stops (systemd.kill(5)).
        """
        if self.state in (WorkerState.LAUNCHING, WorkerState.ONLINE):
            self.state = advance(self.state, WorkerState.RETIRING)
        self.leave(why)
        self._unheard.append(Retire(final))
        self.repeat()
        self.signal(signal.SIGCONT)

    def repeat(self) -> None:
        """Send the messages again that the worker was too far behind for."""
        while self._unheard and self.tell(self._unheard[0]):
            del self._unheard[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process; nothing happens when it is gone."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def gone(self) -> None:
        """The worker is dead: release what is held for it, except its connections.

        That its channel is closed usually means that the process is dead, but an app can close
        descriptors too. So it is killed: its connections are about to be given away, and it
        must not write to them any more.
        """
        self.signal(signal.SIGKILL)
        self.state = advance(self.state, WorkerState.GONE)
        self.row.capacity = 0  # the worker, which writes this, cannot any more
        if self.deadline:
            self.deadline.cancel()
        self.channel.shut()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def cpu_and_rss(self, now: float) -> tuple[float, int]:
        """CPU in percent of one core since the last look (at most twice a second), RSS in bytes."""
        if self.pid is None:
            return 0.0, 0
        use = usage(self.pid)
        then, cpu = self._cpu_sample
        if now - then >= 0.5:
            self._cpu_percent = 100 * (use.cpu - cpu) / (now - then)
            self._cpu_sample = (now, use.cpu)
        return self._cpu_percent, use.rss
