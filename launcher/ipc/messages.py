"""What is said over the channels: one immutable type per message.

A record is one byte that names the type and the message's fields. ``Deal`` is
sent for every connection, so it is a plain tuple and packed by hand; all
others are rare and travel as JSON, readable in ``strace``.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

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


@dataclass(frozen=True, slots=True)
class Listen:
    """Primary to worker, policy ``kernel`` only: accept from these sockets yourself."""

    tag: ClassVar[bytes] = b"L"


@dataclass(frozen=True, slots=True)
class Retire:
    """Primary to worker: finish what runs, take no more, give back the rest, leave.

    ``final``: the whole cluster stops, so there is nobody to give connections
    back to; idle ones are closed.
    """

    tag: ClassVar[bytes] = b"R"
    final: bool


@dataclass(frozen=True, slots=True)
class Share:
    """Primary to worker: return so many idle connections; another worker has none."""

    tag: ClassVar[bytes] = b"s"
    count: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """Primary to pool and worker: the log files were renamed; write to new ones."""

    tag: ClassVar[bytes] = b"o"


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker to primary, first of all: I was forked and have this pid."""

    tag: ClassVar[bytes] = b"H"
    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to primary: the app is loaded, deal me connections."""

    tag: ClassVar[bytes] = b"y"


@dataclass(frozen=True, slots=True)
class Retiring:
    """Worker to primary: I leave by myself; deal me no more.

    ``cause`` is the counter of ``restarts`` it belongs to, or empty.
    """

    tag: ClassVar[bytes] = b"r"
    reason: str
    cause: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Worker to primary: these connections are idle and no longer mine; deal them again."""

    tag: ClassVar[bytes] = b"B"
    serials: list[int]


@dataclass(frozen=True, slots=True)
class Pinned:
    """Worker to primary: this connection has state in my memory, so it cannot travel.

    ``answered``: a part of a response, or another protocol, is on it, so an
    error page cannot follow; otherwise the client is still owed a response.
    """

    tag: ClassVar[bytes] = b"P"
    serial: int
    answered: bool


@dataclass(frozen=True, slots=True)
class Unpinned:
    """Worker to primary: the connection is at a request boundary again."""

    tag: ClassVar[bytes] = b"U"
    serial: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Worker to primary: close this connection with a reset; I have done so with mine."""

    tag: ClassVar[bytes] = b"C"
    serial: int


@dataclass(frozen=True, slots=True)
class Spawn:
    """Primary to pool: fork this worker. Its end of the channel comes along."""

    tag: ClassVar[bytes] = b"S"
    id: int
    slot: int
    row: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Pool to primary: a line for the log."""

    tag: ClassVar[bytes] = b"N"
    text: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Pool to primary: the app is loaded (or each worker will load it), ready to fork."""

    tag: ClassVar[bytes] = b"l"


@dataclass(frozen=True, slots=True)
class Failed:
    """Pool or worker to primary: the app cannot be loaded.

    ``reason`` is one line; ``detail`` the error with the app's own frames.
    """

    tag: ClassVar[bytes] = b"F"
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """Pool to primary: the fork itself failed (EAGAIN, ENOMEM)."""

    tag: ClassVar[bytes] = b"f"
    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """Pool to primary: this worker is dead. ``status`` as from wait(2)."""

    tag: ClassVar[bytes] = b"X"
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
    kind.tag: kind
    for kind in (
        Listen,
        Retire,
        Share,
        Reopen,
        Hello,
        Ready,
        Retiring,
        Returned,
        Pinned,
        Unpinned,
        Cut,
        Spawn,
        Notice,
        Loaded,
        Failed,
        SpawnFailed,
        Exited,
    )
}


def encode(message: Message) -> bytes:
    """The record that carries ``message``."""
    if isinstance(message, Deal):
        return message.pack()
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    return message.tag + json.dumps(fields).encode()


def decode(record: bytes | bytearray) -> Message:
    """The message in ``record``, which the other side made with `encode`.

    Both sides are one installation of one version, so a record that does not
    decode is a defect here and raises ValueError or TypeError.
    """
    if record[0] == _DEAL_TAG:
        return Deal.unpack(record)
    message: Message = _TYPES[bytes(record[:1])](**json.loads(record[1:]))
    return message
