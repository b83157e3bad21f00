"""Responses that are ready and wait a moment, to go out together.

A response that is sent wakes its client, which often gets the CPU at once and
leaves our caches cold; a few in a row wake the client once. So while requests are
short and more of them wait, the responses to safe requests are held until some
have come together or there is nothing else to do.

No request can be lost by that. Until its response is sent a request is untouched
in the kernel, as if it had not begun: should this process die, another worker
runs it, which a safe request can stand (RFC 9110 section 9.2).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from launcher.worker.connection.connection import Connection

QUICK = 5_000_000
"""Nanoseconds of the app's time after which all that is held is sent: a response waits for 5 ms,
and for longer only where the last request behind it takes longer."""

_PROBATION = 64
"""Requests in a row that have to take less than `QUICK` before responses are held."""

_MOST = 32
"""Responses that are held at most."""


@dataclass(slots=True)
class Held:
    """What goes with a response that is held; the response itself is ``conn.held``."""

    conn: Connection
    request: bytes
    """Consumed when the response is out."""
    again: bool
    """Whether the connection can have another request."""
    ended: bool
    """Whether the client has said that it sends nothing more."""
    more: bool
    """Whether the client may be sending another request."""
    took: int
    """Nanoseconds that the app needed."""


class Outbox:
    """The held responses of one worker, and whether to hold more. For all of its threads."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._held: deque[Held] = deque()
        self._quick = -_PROBATION
        self._waited = 0
        """Nanoseconds that the app has run for the held responses together."""
        self.open = False
        """Whether the response to a safe request should be held."""

    def __len__(self) -> int:
        return len(self._held)

    def saw(self, took: int) -> None:
        """A request took so many nanoseconds."""
        if took > QUICK:
            self._quick = -_PROBATION
            self.open = False
        elif not self.open:
            self._quick += 1
            self.open = self._enabled and self._quick >= 0

    def hold(self, held: Held) -> bool:
        """Keep a response; whether it is time to send."""
        self._held.append(held)
        self._waited += held.took
        return self._waited > QUICK or len(self._held) >= _MOST

    def take(self) -> Held | None:
        """Take out the response that has waited longest; None: there is none."""
        self._waited = 0
        try:
            return self._held.popleft() if self._held else None
        except IndexError:  # another thread has taken it
            return None
