"""How long clients may take with what they send, and with what they read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long clients may take, in seconds.

    As Apache's mod_reqtimeout: 20 s for a head, and at least 500 bytes a second for a body;
    and as nginx (client_body_timeout): 60 s between two pieces of a body.
    """

    head: float = 20.0
    body: float = 20.0
    """For a body, or what is left of a response, and a second more for every ``slowest`` bytes."""
    slowest: float = 500.0
    silence: float = 60.0
    """For the next bytes of a body, however fast those before them came; and for a client that
    a thread waits for to read more of its response."""
    linger: float = 2.0
    """For a client that was told of the end, since it last sent something."""
    linger_at_most: float = 30.0
    last_words: float = 0.5
    """For a client of a worker that leaves, where no other worker can go on: to send a request
    that it has begun, or that it sends because it was promised an answer. Enough for a round
    trip through the world."""
    last_linger: float = 0.25
    """As ``linger``, in a worker that leaves."""
    last_silence: float = 5.0
    """As ``silence``, in a worker that leaves: a client that is gone does not hold it up."""

    def allowed(self, size: int) -> float:
        """Seconds that ``size`` bytes of a body, or of a response, may take in all."""
        return self.body + size / self.slowest

    def left(self, received: int, waited: float, silent: float) -> float:
        """Seconds that a body may still be waited for; none are left at 0.

        ``received``: bytes of it that have come. ``waited``: seconds that it was waited for
        in all. ``silent``: those of them since its last byte.
        """
        return min(self.allowed(received) - waited, self.silence - silent)
