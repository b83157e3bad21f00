"""From bytes to a request: gunicorn's parser, fed with what has arrived so far."""

from __future__ import annotations

import io
from enum import Enum, auto
from typing import Any, Protocol

from gunicorn.config import Config
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
    NoMoreData,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from launcher.worker.request.rules import check, is_list_of_tokens

IN_KERNEL = 64 * 1024
"""Bytes of a request, head and body, that may wait in the kernel's receive buffer.

Well below the least that Linux gives a TCP socket by default (tcp(7), 128 KiB
less overhead), so that a request of this size always fits."""

MOST_HEAD = 64 * 1024
"""Bytes of a request's head. gunicorn's own limits per line and field apply besides."""

_BLOCK = 64 * 1024
"""Bytes of a body that are read at once. gunicorn's reader asks for all that is left, and
copies what it gets at every read of the app."""


class Readable(Protocol):
    """What a body can be read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""


class Writable(Readable, Protocol):
    """Where a body can be put, to be read from the beginning."""

    def write(self, data: bytes, /) -> object:
        """Add to what is there."""


class NeedMore(Exception):
    """The head is not complete."""


class _Source(Unreader):
    """What gunicorn's parser reads from: the bytes that are there, later a file."""

    def __init__(self, data: bytes, complete: bool) -> None:
        super().__init__()
        self._pending = data
        self._complete = complete
        self.file: Readable | None = None

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; empty at the end of input. Raises NeedMore when more may come."""
        if self.file:
            return self.file.read(min(size_hint or _BLOCK, _BLOCK))
        data, self._pending = self._pending, b""
        if not data and not self._complete:
            raise NeedMore
        return data

    def rest(self) -> int:
        """Bytes after the head that are there."""
        return len(self.buf.getvalue()) + len(self._pending)

    def read_from(self, file: Readable) -> None:
        """Go on with the body in ``file``; forget what was read ahead."""
        self.buf = io.BytesIO()
        self.file = file


class Framing(Enum):
    """How the end of a body is found."""

    LENGTH = auto()
    CHUNKED = auto()


class Arrived:
    """A request whose head is complete. ``length``: bytes of the body, if it says so."""

    __slots__ = ("framing", "head", "length", "proxied", "request", "source")

    def __init__(self, request: Any, source: _Source, arrived: int) -> None:
        reader = request.body.reader
        self.request = request
        self.source = source
        self.head = arrived - source.rest()
        self.proxied = ""
        """The text of the header that a proxy has sent before the request; see ``proxied.py``."""
        chunked = isinstance(reader, ChunkedReader)
        self.framing = Framing.CHUNKED if chunked else Framing.LENGTH
        self.length = 0 if chunked else reader.length

    @property
    def size(self) -> int:
        """Bytes of the whole request, when it is framed by length."""
        return self.head + self.length

    def request_upgrades(self) -> bool:
        """Whether the client asks to go on in another protocol (WebSocket)."""
        return ("UPGRADE", "websocket") in (
            (name, value.lower()) for name, value in self.request.headers
        )

    def fits_the_kernel(self) -> bool:
        """Whether the whole of it may wait in the receive buffer."""
        return self.framing is Framing.LENGTH and self.size <= IN_KERNEL

    def read_body_from(self, file: Readable) -> None:
        """Let the app read the body from ``file``, which has it in the coding in which it came."""
        self.source.read_from(file)

    def decode_body(self, file: Readable, decoded: Writable) -> None:
        """Decode a chunked body from ``file`` into ``decoded``, and let the app read it from there.

        Raises gunicorn's parse errors.
        """
        self.read_body_from(file)
        size = _decode(self.request.body, decoded)
        if self.source.rest() or file.read(1):
            # The parser finds the end elsewhere than `ChunkScanner`; neither is to be trusted.
            raise InvalidChunkSize(b"data after the last chunk")
        source = _Source(b"", complete=True)
        source.read_from(decoded)
        self.request.body = Body(LengthReader(source, size))


def parse(data: bytes, complete: bool, cfg: Config, peer: Any, number: int) -> Arrived:
    """The request that ``data`` begins with.

    ``complete``: no more bytes will come. ``number`` counts the requests of
    the connection from 1. Raises NeedMore, NoMoreData (the client left in the
    middle of the head), StopIteration (the client left before a head), and
    gunicorn's parse errors.
    """
    source = _Source(data, complete)
    try:
        request = Request(cfg, source, peer, number)
    except NeedMore:
        if len(data) >= MOST_HEAD:
            raise LimitRequestHeaders("limit request head size") from None
        raise
    except UnsupportedTransferCoding as error:
        if is_list_of_tokens(error.hdr):
            raise
        raise InvalidHeader("TRANSFER-ENCODING") from None
    check(request)
    return Arrived(request, source, len(data))


def may_be_complete(data: bytes, looked_at: int) -> bool:
    """Whether another line has ended since ``looked_at`` bytes were there.

    Only a line's end can complete a head or make it wrong, so parsing again is
    worth it once per line, not once per byte that a slow client sends.
    """
    return data.find(b"\n", looked_at) >= 0 or len(data) >= MOST_HEAD


def _decode(body: Any, decoded: Writable) -> int:
    """Write the body to ``decoded``; how many bytes it has."""
    size = 0
    try:
        while data := body.read(_BLOCK):
            decoded.write(data)
            size += len(data)
    except NoMoreData:
        raise ChunkMissingTerminator(b"") from None
    return size
