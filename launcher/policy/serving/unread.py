"""How much of their responses clients may leave unread in a worker, and which client has to go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

MOST_OF_ONE = 16 << 20
"""Bytes of one connection's responses that are kept in memory. Beyond, the app waits."""

MOST = 64 << 20
"""Bytes that are kept for all connections of a worker together."""

TRIFLE = 4 << 10
"""Bytes of a connection that no thread stays for: the head in front of a file, for instance."""

STEP = 64 << 10
"""Bytes that a client has to take to count as one that reads: a drip is no progress."""

GRACES = ((1 / 4, 5.0), (1 / 2, 1.0), (1.0, 0.25))
"""Shares of the threads, and seconds. While at most a quarter of the threads wait for clients to
read, a client that has not taken a `STEP` for 5 s may have to go to make room; while at most half
wait, for 1 s; else for 0.25 s. The threads that do not wait serve all other clients."""


MANY = 8
"""Threads of a worker from which on a quarter of them is more than one."""


@dataclass(slots=True)
class Reader:
    """A client that has yet to read. ``taken``: bytes it had taken of its connection at ``since``.

    ``since``: when it was last seen to have got on by a `STEP`; monotonic seconds.
    """

    taken: int
    since: float
    memory: int = 0
    """Bytes that are kept for it."""
    condemned: bool = False
    """Whether it is to be cut by the thread that has it in hand."""

    def look(self, taken: int, now: float) -> None:
        """The client has taken so many bytes by now."""
        if taken - self.taken >= STEP:
            self.taken = taken
            self.since = now


def has_room(own: int, total: int, waiting: bool) -> bool:
    """Whether ``own`` bytes of a connection, of ``total`` of the worker, may stay in memory.

    ``waiting``: its thread is held already, and is let go at half of what it may keep,
    so that the app goes on for more than a piece.
    """
    share = MOST_OF_ONE // 2 if waiting else MOST_OF_ONE
    return own <= TRIFLE or (own <= share and total <= MOST)


_Key = TypeVar("_Key")


def grace(staying: int, threads: int) -> float:
    """Seconds that a client may read nothing, where so many of the threads stay for theirs.

    None where only a quarter of many are left: each that stays holds what its app has made.
    """
    if threads >= MANY and staying > 3 / 4 * threads:
        return 0.0
    return next(seconds for share, seconds in GRACES if staying <= share * threads)


def slowest(readers: Mapping[_Key, Reader], now: float, grace: float) -> _Key | None:
    """The client that has not read for longest, and has to go to make room for others.

    None: all clients read, or those that are condemned already hold all that is too much.
    """
    if sum(reader.memory for reader in readers.values() if not reader.condemned) <= MOST:
        return None
    late = [
        (reader.since, key)
        for key, reader in readers.items()
        if now - reader.since >= grace and not reader.condemned
    ]
    return min(late, key=lambda pair: pair[0])[1] if late else None
