"""What is said over the channels: one immutable type per message.

A record is one byte that names the type and the message's fields. ``Deal`` is
sent for every connection, so it is a plain tuple and packed by hand; all
others are rare and travel as JSON, readable in ``strace``.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

_DEAL = struct.Struct("<BQQQHH")
_DEAL_TAG = ord("D")


class Deal(NamedTuple):
    """Primary to worker: a connection to serve; its descriptor comes along.

    ``written`` and ``consumed`` are the bytes sent and read on it so far by
    the workers that had it before. ``listener`` is the index of the listening
    socket it came in on.
    """

    serial: int
    written: int
    consumed: int
    listener: int
    port: int
    host: str

    def pack(self) -> bytes:
        """The record; the host fills what the fixed fields leave."""
        return _DEAL.pack(_DEAL_TAG, *self[:5]) + self.host.encode()

    @classmethod
    def unpack(cls, record: bytes | bytearray) -> Deal:
        """The message in ``record``."""
        _, serial, written, consumed, listener, port = _DEAL.unpack_from(record)
        return cls(serial, written, consumed, listener, port, record[_DEAL.size :].decode())


class Listen(NamedTuple):
    """Primary to worker, policy ``kernel`` only: accept from these sockets yourself."""


class Retire(NamedTuple):
    """Primary to worker: finish what runs, take no more, give back the rest, leave.

    ``final``: the whole cluster stops, so there is nobody to give connections
    back to; idle ones are closed.
    """

    final: bool


class Share(NamedTuple):
    """Primary to worker: return so many idle connections; another worker has none."""

    number: int


class Reopen(NamedTuple):
    """Primary to pool and worker: the log files were renamed; write to new ones."""


class Hello(NamedTuple):
    """Worker to primary, first of all: I was forked and have this pid."""

    pid: int


class Ready(NamedTuple):
    """Worker to primary: the app is loaded, deal me connections."""


class Retiring(NamedTuple):
    """Worker to primary: I leave by myself; deal me no more.

    ``cause`` is the counter of ``restarts`` it belongs to, or empty.
    """

    reason: str
    cause: str


class Returned(NamedTuple):
    """Worker to primary: these connections are idle and no longer mine; deal them again."""

    serials: list[int]


class Pinned(NamedTuple):
    """Worker to primary: this connection has state in my memory, so it cannot travel.

    ``answered``: a part of a response, or another protocol, is on it, so an
    error page cannot follow; otherwise the client is still owed a response.
    """

    serial: int
    answered: bool


class Unpinned(NamedTuple):
    """Worker to primary: the connection is at a request boundary again."""

    serial: int


class Cut(NamedTuple):
    """Worker to primary: close this connection with a reset; I have done so with mine."""

    serial: int


class Spawn(NamedTuple):
    """Primary to pool: fork this worker. Its end of the channel comes along."""

    id: int
    slot: int
    row: int


class Notice(NamedTuple):
    """Pool to primary: a line for the log."""

    text: str


class Loaded(NamedTuple):
    """Pool to primary: the app is loaded (or each worker will load it), ready to fork."""


class Failed(NamedTuple):
    """Pool or worker to primary: the app cannot be loaded.

    ``reason`` is one line; ``detail`` the error with the app's own frames.
    """

    reason: str
    detail: str


class SpawnFailed(NamedTuple):
    """Pool to primary: the fork itself failed (EAGAIN, ENOMEM)."""

    id: int
    reason: str


class Exited(NamedTuple):
    """Pool to primary: this worker is dead. ``status`` as from wait(2)."""

    id: int
    pid: int
    status: int


Message = (
    Deal
    | Listen
    | Retire
    | Share
    | Reopen
    | Hello
    | Ready
    | Retiring
    | Returned
    | Pinned
    | Unpinned
    | Cut
    | Spawn
    | Notice
    | Loaded
    | Failed
    | SpawnFailed
    | Exited
)

_TYPES: dict[bytes, type[Any]] = {
    b"L": Listen,
    b"R": Retire,
    b"s": Share,
    b"o": Reopen,
    b"H": Hello,
    b"y": Ready,
    b"r": Retiring,
    b"B": Returned,
    b"P": Pinned,
    b"U": Unpinned,
    b"C": Cut,
    b"S": Spawn,
    b"N": Notice,
    b"l": Loaded,
    b"F": Failed,
    b"f": SpawnFailed,
    b"X": Exited,
}
_TAGS = {kind: tag for tag, kind in _TYPES.items()}


def encode(message: Message) -> bytes:
    """The record that carries ``message``."""
    if isinstance(message, Deal):
        return message.pack()
    return _TAGS[type(message)] + json.dumps(message._asdict()).encode()


def decode(record: bytes | bytearray) -> Message:
    """The message in ``record``, which the other side made with `encode`.

    Both sides are one installation of one version, so a record that does not
    decode is a defect here and raises ValueError or TypeError.
    """
    if record[0] == _DEAL_TAG:
        return Deal.unpack(record)
    message: Message = _TYPES[bytes(record[:1])](**json.loads(record[1:]))
    return message
