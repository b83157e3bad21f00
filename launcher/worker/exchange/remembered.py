"""What was looked at once and comes again: clients and apps repeat themselves."""

from __future__ import annotations

from typing import TypeVar

MOST = 4096
"""Entries of a memory; a full one is emptied. Bounds what a hostile client can fill."""

_LONGEST = 1024
"""Bytes of what is worth remembering."""

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """A dict whose `put` keeps it small."""

    __slots__ = ("_most",)

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self._most = most

    def put(self, key: K, value: V, size: int) -> None:
        """Remember what a key comes to, unless it is long. ``size``: bytes of the key."""
        if size > _LONGEST:
            return
        if len(self) >= self._most:
            self.clear()
        self[key] = value
