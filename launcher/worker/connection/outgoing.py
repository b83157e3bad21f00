"""What a client has not taken yet of the responses to it."""

from __future__ import annotations

import mmap
import os
from collections import deque

_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class FilePart:
    """A piece of a file that is to be sent. Owns its descriptor."""

    __slots__ = ("fd", "left", "offset")

    def __init__(self, fd: int, offset: int, left: int) -> None:
        self.fd = fd
        self.offset = offset
        self.left = left

    def __len__(self) -> int:
        return self.left


class Block:
    """Bytes to be sent, in memory that goes back to the system as soon as they are sent.

    So the memory is mapped (mmap(2)): malloc(3) keeps memory that is freed, as a rule.
    """

    SIZE = 256 * 1024

    __slots__ = ("_end", "_memory", "_start")

    def __init__(self) -> None:
        """Raises OSError when there is no memory."""
        self._memory = mmap.mmap(-1, self.SIZE, flags=_PRIVATE)
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def filled(self) -> int:
        """Bytes that were put in; the block takes as much memory, however few are left to send."""
        return self._end

    def fill(self, data: memoryview) -> int:
        """Put in as many bytes as there is room for; how many."""
        size = min(len(data), self.SIZE - self._end)
        self._memory[self._end : self._end + size] = data[:size]
        self._end += size
        return size

    def left(self) -> memoryview:
        """What is left to send."""
        return memoryview(self._memory)[self._start : self._end]

    def sent(self, size: int) -> None:
        """So many bytes are sent."""
        self._start += size


class Outgoing:
    """Pieces in memory and of files, in order."""

    __slots__ = ("memory", "parts")

    def __init__(self) -> None:
        self.parts: deque[Block | FilePart] = deque()
        """In order. The same object for good: `Connection.unsent_parts` is it, too."""
        self.memory = 0
        """Bytes of memory that the parts take. A file takes none."""

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def keep(self, data: bytes | memoryview) -> None:
        """Add a copy of ``data``. Raises OSError when there is no memory."""
        rest = memoryview(data)
        while rest:
            last = self.parts[-1] if self.parts else None
            if not isinstance(last, Block) or last.filled == Block.SIZE:
                last = Block()
                self.parts.append(last)
            size = last.fill(rest)
            self.memory += size
            rest = rest[size:]

    def keep_file(self, part: FilePart) -> None:
        """Add a piece of a file."""
        self.parts.append(part)

    def first(self) -> Block | FilePart:
        """What is to be sent next."""
        return self.parts[0]

    def done(self) -> None:
        """The first part is sent."""
        part = self.parts.popleft()
        if isinstance(part, FilePart):
            os.close(part.fd)
        else:
            self.memory -= part.filled

    def clear(self) -> None:
        """Drop all of it."""
        while self.parts:
            self.done()
