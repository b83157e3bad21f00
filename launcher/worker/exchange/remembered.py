"""What was looked at once and comes again: clients and apps repeat themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

MOST = 4096
"""Entries of a memory; a full one is emptied. Bounds what a hostile client can fill."""

_LONGEST = 1024
"""Bytes of the longest key that is remembered."""

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A memory that stays small."""

    __slots__ = ("_known", "_most", "get")

    def __init__(self, most: int = MOST) -> None:
        self._known: dict[K, V] = {}
        self._most = most
        self.get: Callable[[K], V | None] = self._known.get
        """What a key comes to, None: not known. The dict's own method: it is asked all the time."""

    def put(self, key: K, value: V, size: int) -> None:
        """Remember what a key comes to, unless it is long. ``size``: bytes of the key."""
        if size > _LONGEST:
            return
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[key] = value

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
