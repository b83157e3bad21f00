"""Whether a request killed its worker, or was only there when somebody else did.

A safe request that was running in a worker that died is run again. Dies the
next one with it too, it is taken for the culprit, and not run a third time.
But while workers die of what is certainly none of them (somebody kills them, or
the machine is out of memory), a second death proves little.

Only requests that can run again are suspects. One that cannot, a POST, would
stay one for ever: nothing ever shows that it is harmless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

RECENT = 2.0
"""Seconds for which a death counts."""

_UNEXPLAINED = 2
"""Recent deaths that no suspect can have caused, which clear those that were there at others."""

_MOST_RERUNS = 5


class _Death(NamedTuple):
    when: float
    suspects: set[int]
    """Requests that may have caused it; empty: none of those that can run again has."""


class Blame:
    """The recent deaths of workers. Requests go by their connections' serials.

    ``now`` is monotonic seconds.
    """

    def __init__(self) -> None:
        self._deaths: deque[_Death] = deque()

    def died(self, suspects: Iterable[int], now: float) -> None:
        """A worker died that nobody had asked to, while it ran these, which can run again."""
        while self._deaths and self._deaths[0].when < now - RECENT:
            self._deaths.popleft()
        self._deaths.append(_Death(now, set(suspects)))

    def acquit(self, request: int) -> None:
        """It was run again, and no worker died of it."""
        for death in self._deaths:
            death.suspects.discard(request)

    def clears(self, reruns: int, now: float) -> bool:
        """Whether a request that died with its worker may be run again.

        ``reruns``: how often it has been already.
        """
        if reruns == 0:
            return True
        recent = (death for death in self._deaths if death.when >= now - RECENT)
        unexplained = sum(not death.suspects for death in recent)
        return unexplained >= _UNEXPLAINED and reruns < _MOST_RERUNS
