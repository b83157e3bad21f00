"""What is said over the channels: one immutable type per message.

All are tuples, which cost little to make. `Deals` carry every connection and are
packed by hand; how the others travel is in `launcher.ipc.records`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_DEAL = struct.Struct("<QQQHH?dBB")
DEALS_TAG = b"D"


class Deal(NamedTuple):
    """A connection to serve.

    ``written`` and ``consumed`` are the bytes sent and read on it so far by
    the workers that had it before. ``listener`` is the index of the listening
    socket it came in on. ``first``: before what waits already; its request was
    running in a worker that died. ``since``: when its request began to wait for a
    thread, in monotonic seconds; 0: none is known to wait. ``proxied``: what a proxy had
    said of the client before the first request, once a worker has consumed that.
    """

    serial: int
    written: int
    consumed: int
    listener: int
    port: int
    first: bool
    since: float
    host: str
    proxied: str = ""

    def pack(self) -> bytes:
        """Fixed fields, the lengths of the texts, the texts."""
        host, proxied = self.host.encode(), self.proxied.encode()
        return _DEAL.pack(*self[:7], len(host), len(proxied)) + host + proxied


class Deals(NamedTuple):
    """Primary to worker: connections to serve; their descriptors come along, in this order."""

    deals: list[Deal]

    def pack(self) -> bytes:
        """The record."""
        return DEALS_TAG + b"".join([deal.pack() for deal in self.deals])

    @classmethod
    def unpack(cls, record: bytes | bytearray) -> Deals:
        """The message in ``record``."""
        deals = []
        position = 1
        while position < len(record):
            serial, written, consumed, listener, port, first, since, size, more = _DEAL.unpack_from(
                record, position
            )
            begin = position + _DEAL.size
            end = begin + size
            position = end + more
            host, proxied = record[begin:end].decode(), record[end:position].decode()
            deals.append(
                Deal(serial, written, consumed, listener, port, first, since, host, proxied)
            )
        return cls(deals)


class Begin(NamedTuple):
    """Primary to pool, first of all: load what the `Boot` record says.

    Its descriptor comes along, then the scoreboard's, then in the background
    that of the folder to log to.
    """


class Listen(NamedTuple):
    """Primary to worker, policy ``kernel`` only: accept from these sockets yourself."""


class Drain(NamedTuple):
    """Primary to worker: every answer ends its connection from now on; the cluster will stop.

    New connections still come, and none is closed for want of a request.
    """


class Retire(NamedTuple):
    """Primary to worker: finish what runs, take no more, give back the rest, leave.

    ``final``: the whole cluster stops, so no other worker can have the
    connections; idle ones are heard for a moment, then closed. `Drain` goes without saying.
    """

    final: bool


class Resume(NamedTuple):
    """Primary to worker, after `Spent`: go on serving, no other worker can."""


class Share(NamedTuple):
    """Primary to worker: return so many idle connections; another worker has none."""

    number: int


class Shed(NamedTuple):
    """Primary to worker: close so many idle connections, there is no room for new ones."""

    number: int


class Reopen(NamedTuple):
    """Primary to pool and worker: the log files were renamed; write to new ones.

    In the background the folder's descriptor comes along: it may be another one.
    """


class Alone(NamedTuple):
    """Primary to pool: no other generation is left, neither its pool nor a worker of it."""


class Buried(NamedTuple):
    """Primary to pool: a process has ended of which no pool can tell, and was collected.

    ``id`` is the worker's; 0: it was a pool.
    """

    pid: int
    id: int


class Scaled(NamedTuple):
    """Primary to pool: there are to be so many workers from now on."""

    workers: int


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


class Spent(NamedTuple):
    """Worker to primary: I have begun my last request, and give back what else comes."""


class Returned(NamedTuple):
    """Worker to primary: this connection is not mine any more; deal it again.

    ``since``: as in `Deal`.
    """

    serial: int
    since: float


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


class Proxied(NamedTuple):
    """Worker to primary: a proxy has said this of the client, before the request that I begin."""

    serial: int
    text: str


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


class Look(NamedTuple):
    """Primary to pool: say now which files have changed (``--watch``)."""


class Changed(NamedTuple):
    """Pool to primary: files of the app that are others than at the last look (``--watch``).

    ``asked``: this is the answer to `Look`; then there may be none.
    """

    paths: list[str]
    asked: bool


class Configured(NamedTuple):
    """Pool to primary: what gunicorn's configuration says of unix sockets' files.

    The ids are -1 where it names neither user nor group.
    """

    umask: int
    uid: int
    gid: int


class Loaded(NamedTuple):
    """Pool to primary: the app is loaded (or each worker will load it), ready to fork."""


class Failed(NamedTuple):
    """Pool or worker to primary: the app cannot be loaded, or an exception ends me.

    ``reason`` is one line; ``detail`` the error with the app's own frames.
    """

    reason: str
    detail: str


class Forked(NamedTuple):
    """Pool to primary: this worker is a process now; a pidfd of it comes along (pidfd_open(2)).

    It may hang in a server hook before it can say hello itself.
    """

    id: int
    pid: int


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
    Deals
    | Begin
    | Listen
    | Drain
    | Retire
    | Resume
    | Share
    | Shed
    | Reopen
    | Alone
    | Buried
    | Scaled
    | Hello
    | Ready
    | Retiring
    | Spent
    | Returned
    | Pinned
    | Unpinned
    | Proxied
    | Cut
    | Spawn
    | Notice
    | Look
    | Changed
    | Configured
    | Loaded
    | Failed
    | Forked
    | SpawnFailed
    | Exited
)
