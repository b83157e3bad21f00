"""Runs requests again that a worker died with, one at a time.

A request that kills its worker takes those down that run beside it. Were they
all run again at once, they would meet in the next worker, and an innocent one
would have cost two workers too. So each suspect is run by itself, as far as
suspects go; it is cleared when it has been answered, or runs for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from launcher.primary.accounting import figures
from launcher.primary.connections import Connection, Connections
from launcher.primary.reactor import Reactor

_LOOK = 0.005

_LONGEST = 0.5
"""Seconds after which a suspect that still runs no longer holds up the next."""


class Trial:
    """The suspects: one is being run again, the others wait for their turn."""

    def __init__(
        self, reactor: Reactor, connections: Connections, deal: Callable[[Connection], None]
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._deal = deal
        self._waiting: deque[Connection] = deque()
        self._on_trial: Connection | None = None
        self._until = 0.0

    def add(self, suspect: Connection) -> None:
        """Have the request of this connection run again; its ``rerun_at`` is set."""
        self._waiting.append(suspect)
        if self._on_trial is None:
            self._next()

    def _next(self) -> None:
        self._on_trial = None
        while self._waiting and self._on_trial is None:
            suspect = self._waiting.popleft()
            if self._connections.get(suspect.serial) is suspect:
                self._on_trial = suspect
                self._until = self._reactor.clock() + _LONGEST
                self._deal(suspect)
                self._reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        if self._on_trial and self._undecided(self._on_trial):
            self._reactor.call_later(_LOOK, self._look)
        else:
            self._next()

    def _undecided(self, suspect: Connection) -> bool:
        if self._connections.get(suspect.serial) is not suspect:
            return False  # closed, or answered with an error for its second worker
        known = figures(suspect.fd)
        answered = known is None or known.consumed > suspect.rerun_at
        return not answered and self._reactor.clock() < self._until
