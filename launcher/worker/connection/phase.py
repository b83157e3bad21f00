"""What a connection waits for, and that it cannot go on."""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    """What a parked connection waits for."""

    HANDSHAKE = auto()
    """The first byte of a TLS connection; until then it can still go to another worker."""
    REQUEST = auto()
    """The rest of a request that stays in the kernel, or its first byte."""
    BODY = auto()
    """The rest of a request that is pulled into this process."""
    FLUSH = auto()
    """The client to read the rest of a response."""
    LINGER = auto()
    """The client to close; see `Ending.linger`."""


class Broken(Exception):
    """The connection cannot go on: its client is gone, or must not take a part for the whole.

    Not an OSError: an app has ConnectionErrors of its own, which are answered 500.
    """
