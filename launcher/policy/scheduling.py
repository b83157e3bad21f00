"""Which worker gets the next connection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

LONG = 0.005
"""Seconds; nearly all requests that only compute are over by then."""

_HELD_UP = 16
"""Penalty, in requests, for a worker none of whose threads has become free for `LONG`: 16 after
5 ms, 32 after 10 ms, 48 after 20 ms. Sixteen short requests ahead in another worker are over
sooner than one slow request here. The penalty grows only with the logarithm of the time, because
on a busy machine every worker looks held up for a few milliseconds."""


class Candidate(Protocol):
    """A worker as the scheduling policies see it."""

    @property
    def slot(self) -> int:
        """Its place in the ring."""

    @property
    def connections(self) -> int:
        """Connections it has, idle ones included."""

    def load(self) -> int:
        """Requests it runs plus connections dealt to it that it has not taken yet."""

    def held_up(self) -> float:
        """Seconds for which all threads it has have been with their requests; 0: one is free."""


Policy = Callable[[Sequence[Candidate], int, str], int]
"""``(ring, after, client) -> index``: the ring is not empty and ordered by slot,
``after`` is the slot dealt to last, ``client`` the address of the client."""


def _next_in_ring(ring: Sequence[Candidate], after: int) -> int:
    for index, worker in enumerate(ring):
        if worker.slot > after:
            return index
    return 0


def round_robin(ring: Sequence[Candidate], after: int, client: str) -> int:  # noqa: ARG001
    """Among the workers that run the fewest requests the next in the ring.

    The field's ``SCHED_RR`` (Node's cluster) with one difference: a worker with more requests
    is passed over for one with fewer, and a worker that is held up for one that gets on. Where
    no worker has a request, they are dealt to exactly in turn.
    """
    size = len(ring)
    first = _next_in_ring(ring, after)
    best, least = first, math.inf
    for step in range(size):
        index = (first + step) % size
        worker = ring[index]
        load = worker.load()
        if load <= 0:
            return index
        load += _HELD_UP * int(worker.held_up() / LONG).bit_length()
        if load < least:
            best, least = index, load
    return best


def least_busy(ring: Sequence[Candidate], after: int, client: str) -> int:  # noqa: ARG001
    """The worker that runs the fewest requests, then holds the fewest connections."""
    size = len(ring)
    first = _next_in_ring(ring, after)
    return min(
        ((first + step) % size for step in range(size)),
        key=lambda index: (ring[index].load(), ring[index].connections),
    )


def sticky(ring: Sequence[Candidate], after: int, client: str) -> int:  # noqa: ARG001
    """The same slot for the same client address, while that slot is there.

    Rendezvous hashing (Thaler and Ravishankar, 1998): when a slot comes or
    goes only its own clients move. The hash of a str (SipHash) is the same
    for as long as the primary lives, which is as long as any worker does.
    """
    return max(range(len(ring)), key=lambda index: hash(f"{client}/{ring[index].slot}"))


POLICIES: dict[str, Policy] = {
    "round-robin": round_robin,
    "least-busy": least_busy,
    "sticky": sticky,
}
"""By the name on the command line. ``kernel`` is not here: with it the primary does not choose."""
