"""Runs requests again that a worker died with, one at a time.

A request that kills its worker takes those down that run beside it. Were they
all run again at once, they would meet in the next worker, and an innocent one
would have cost two workers too. So each suspect is run by itself, as far as
suspects go; it is acquitted when it has been answered, and no longer holds up
the next when it runs for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from launcher.policy.blame import Blame
from launcher.primary.accounting import figures
from launcher.primary.connections import Connection, Connections
from launcher.primary.reactor import Reactor, Timer

_LOOK = 0.005

_LONGEST = 0.5
_SHORTEST = 0.03
"""Seconds after which a suspect that still runs no longer holds up the next: the more
wait, the fewer."""


class Trial:
    """The suspects: one is being run again, the others wait for their turn."""

    def __init__(
        self,
        reactor: Reactor,
        connections: Connections,
        deal: Callable[[Connection], None],
        blame: Blame,
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._deal = deal
        self._blame = blame
        self._waiting: deque[Connection] = deque()
        self._on_trial: Connection | None = None
        self._until = 0.0
        self._next_look: Timer | None = None

    def __len__(self) -> int:
        """Suspects that wait for their turn."""
        return len(self._waiting)

    def add(self, suspect: Connection) -> None:
        """Have the request of this connection run again; its ``rerun_at`` is set."""
        self._waiting.append(suspect)
        if self._on_trial is None:
            self._next()
        else:
            self.worker_died(suspect)

    def worker_died(self, suspect: Connection) -> None:
        """So did the worker that ran it again: if it was on trial, that is over."""
        if suspect is self._on_trial:
            self._next()

    def _next(self) -> None:
        if self._next_look:
            self._next_look.cancel()
        self._on_trial = None
        while self._waiting and self._on_trial is None:
            suspect = self._waiting.popleft()
            if self._connections.get(suspect.serial) is suspect:
                self._on_trial = suspect
                longest = max(_SHORTEST, _LONGEST / (1 + len(self._waiting)))
                self._until = self._reactor.clock() + longest
                self._deal(suspect)
                self._look_later()

    def _look_later(self) -> None:
        self._next_look = self._reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        suspect = self._on_trial
        assert suspect
        if self._answered(suspect):
            self._blame.acquit(suspect.serial)
            self._next()
        elif self._reactor.clock() >= self._until:
            self._next()
        else:
            self._look_later()

    def _answered(self, suspect: Connection) -> bool:
        """Whether it has its answer, or does not want it any more."""
        if self._connections.get(suspect.serial) is not suspect:
            return True
        known = figures(suspect.fd)
        return known is None or known.consumed > suspect.rerun_at
