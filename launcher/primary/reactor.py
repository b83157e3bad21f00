"""The one wait of the primary: descriptors, timers and signals all wake it here."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping

Handler = Callable[[int, int], None]
"""Called with its descriptor and the epoll events on it."""

_LONGEST_WAIT = 60.0
"""Seconds in one epoll_wait(2), where no timer is due before."""


class Timer:
    """A call that is due at ``when``. `cancel` it, or let it happen."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """The call will not happen."""
        self._call = None

    def fire(self) -> None:
        """Make the call, once."""
        call, self._call = self._call, None
        if call:
            call()


def _raise(error: Exception) -> None:
    raise error


class Reactor:
    """An epoll loop. All methods are for the one thread that calls `run`.

    ``on_defect`` is given what a handler or timer has raised; unless it raises
    too, the loop goes on with the next event.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        on_defect: Callable[[Exception], None] = _raise,
    ) -> None:
        self.clock = clock
        self._on_defect = on_defect
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._signals: dict[int, Callable[[], object]] = {}
        self._forgotten: set[int] = set()
        """Descriptors that no event of the current batch is for any more: their numbers may
        have come to mean something else."""
        self._running = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.watch(self._wake_read, select.EPOLLIN, self._on_wake)

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call ``handler`` whenever ``fd`` has ``events`` (EPOLLERR and EPOLLHUP always count)."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on ``fd``."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``; before it is closed, since others may hold the same file."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)
            self._forgotten.add(fd)

    def drop(self, fd: int) -> None:
        """As `forget`, for a descriptor whose one-shot event has come: the kernel says no more."""
        self._handlers.pop(fd, None)

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call ``call`` once the clock shows ``when``."""
        timer = Timer(when, call)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Call ``call`` in ``delay`` seconds."""
        return self.call_at(self.clock() + delay, call)

    def on_signals(self, handlers: Mapping[int, Callable[[], object]]) -> None:
        """Call each handler from the loop when its signal came."""
        for number, handler in handlers.items():
            self._signals[number] = handler
            signal.signal(number, _noted_by_the_wakeup_pipe)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def stop(self) -> None:
        """`run` returns after the current event."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        poll, handlers, forgotten = self._epoll.poll, self._handlers, self._forgotten
        while self._running:
            batch = poll(self._wait_time())
            forgotten.clear()  # what was forgotten before is in no batch after
            for fd, events in batch:
                if fd in forgotten:
                    continue
                try:
                    handlers[fd](fd, events)
                except Exception as error:
                    self._on_defect(error)
            self._fire_due()

    def close(self) -> None:
        """Release the loop's own descriptors and signal handlers."""
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._epoll.close()

    def _wait_time(self) -> float:
        if not self._timers:
            return _LONGEST_WAIT
        return min(_LONGEST_WAIT, max(0.0, self._timers[0][0] - self.clock()))

    def _fire_due(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            try:
                timer.fire()
            except Exception as error:
                self._on_defect(error)

    def _on_wake(self, _fd: int, _events: int) -> None:
        for number in _distinct(os.read(self._wake_read, 4096)):
            handler = self._signals.get(number)
            if handler:
                handler()


class Alarm:
    """Makes ``call`` at the earliest of the times it is set to, once for all of them."""

    def __init__(self, reactor: Reactor, call: Callable[[], None]) -> None:
        self._reactor = reactor
        self._call = call
        self._timer: Timer | None = None

    def set(self, when: float) -> None:
        """Call at ``when`` at the latest."""
        if self._timer and self._timer.when <= when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._reactor.call_at(when, self._due)

    def set_in(self, seconds: float) -> None:
        """Call in so many seconds at the latest."""
        self.set(self._reactor.clock() + seconds)

    def _due(self) -> None:
        self._timer = None
        self._call()


def _noted_by_the_wakeup_pipe(_number: int, _frame: object) -> None:
    """A Python-level handler must exist for `signal.set_wakeup_fd` to write the number."""


def _distinct(numbers: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(numbers))
