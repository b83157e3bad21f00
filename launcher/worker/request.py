"""From bytes to a request: gunicorn's parser, fed with what has arrived so far."""

from __future__ import annotations

import io
import tempfile
from enum import Enum, auto
from typing import Any, BinaryIO

from gunicorn.config import Config
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

IN_KERNEL = 64 * 1024
"""Bytes of a request, head and body, that may wait in the kernel's receive buffer.

Well below the least that Linux gives a TCP socket by default (tcp(7), 128 KiB
less overhead), so that a request of this size always fits."""

MOST_HEAD = 64 * 1024
"""Bytes of a request's head. gunicorn's own limits per line and field apply besides."""

_IN_MEMORY = 256 * 1024
"""Bytes of a request's body that are kept in memory; the rest goes to a temporary file."""


class NeedMore(Exception):
    """The head is not complete."""


class _Source(Unreader):
    """What gunicorn's parser reads from: the bytes that are there, later a file."""

    def __init__(self, data: bytes, complete: bool) -> None:
        super().__init__()
        self._pending = data
        self._complete = complete
        self.file: BinaryIO | None = None

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; empty at the end of input. Raises NeedMore when more may come."""
        if self.file:
            return self.file.read(size_hint or 65536)
        data, self._pending = self._pending, b""
        if not data and not self._complete:
            raise NeedMore
        return data

    def rest(self) -> int:
        """Bytes after the head that are there."""
        return len(self.buf.getvalue()) + len(self._pending)

    def read_from(self, file: BinaryIO) -> None:
        """Go on with the body in ``file``; forget what was read ahead."""
        self.buf = io.BytesIO()
        self.file = file


class Framing(Enum):
    """How the end of a body is found."""

    LENGTH = auto()
    CHUNKED = auto()


class Arrived:
    """A request whose head is complete. ``length``: bytes of the body, if it says so."""

    __slots__ = ("framing", "head", "length", "request", "source")

    def __init__(self, request: Any, source: _Source, arrived: int) -> None:
        reader = request.body.reader
        self.request = request
        self.source = source
        self.head = arrived - source.rest()
        chunked = isinstance(reader, ChunkedReader)
        self.framing = Framing.CHUNKED if chunked else Framing.LENGTH
        self.length = 0 if chunked else reader.length

    @property
    def size(self) -> int:
        """Bytes of the whole request, when it is framed by length."""
        return self.head + self.length

    def request_upgrades(self) -> bool:
        """Whether the client asks to go on in another protocol (WebSocket)."""
        return any(name == "UPGRADE" for name, _ in self.request.headers)

    def fits_the_kernel(self) -> bool:
        """Whether the whole of it may wait in the receive buffer."""
        return self.framing is Framing.LENGTH and self.size <= IN_KERNEL

    def take_body(self, file: BinaryIO) -> None:
        """Let the app read the body, as it came, from ``file``.

        A chunked body is decoded here, so that what is malformed about it is
        known before the app runs. Raises gunicorn's parse errors, NoMoreData.
        """
        file.seek(0)
        self.source.read_from(file)
        if self.framing is Framing.CHUNKED:
            decoded, size = _decode(self.request.body)
            source = _Source(b"", complete=True)
            source.read_from(decoded)
            self.request.body = Body(LengthReader(source, size))


class Incoming:
    """A request that is pulled out of the kernel because it is too large to wait there."""

    def __init__(self, arrived: Arrived) -> None:
        self.arrived = arrived
        self._file = spool()
        self._left = arrived.length
        self._scanner = ChunkScanner() if arrived.framing is Framing.CHUNKED else None

    @property
    def complete(self) -> bool:
        """Whether the whole body is here."""
        return self._scanner.done if self._scanner else self._left == 0

    def belongs(self, data: bytes) -> int:
        """How many of the bytes that have arrived are this body's."""
        return self._scanner.feed(data) if self._scanner else min(len(data), self._left)

    def take(self, data: bytes) -> None:
        """Keep some bytes of the body. Raises OSError when there is no room for them."""
        self._file.write(data)
        self._left -= len(data)

    def finish(self) -> Arrived:
        """The request, ready for the app. Raises what `Arrived.take_body` raises."""
        self.arrived.take_body(self._file)
        return self.arrived

    def close(self) -> None:
        """Drop what was kept."""
        self._file.close()


def parse(data: bytes, complete: bool, cfg: Config, peer: Any, number: int) -> Arrived:
    """The request that ``data`` begins with.

    ``complete``: no more bytes will come. ``number`` counts the requests of
    the connection from 1. Raises NeedMore, NoMoreData (the client left in the
    middle of the head), StopIteration (it left before one), and gunicorn's
    parse errors.
    """
    source = _Source(data, complete)
    try:
        request = Request(cfg, source, peer, number)
    except NeedMore:
        if len(data) >= MOST_HEAD:
            raise LimitRequestHeaders("limit request head size") from None
        raise
    return Arrived(request, source, len(data))


def may_be_complete(data: bytes, looked_at: int) -> bool:
    """Whether another line has ended since ``looked_at`` bytes were there.

    Only a line's end can complete a head or make it wrong, so parsing again is
    worth it once per line, not once per byte that a slow client sends.
    """
    return data.find(b"\n", looked_at) >= 0 or len(data) >= MOST_HEAD


def spool() -> BinaryIO:
    """A place for a body: memory, and a temporary file when it is large."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # type: ignore[return-value]


def _decode(body: Any) -> tuple[BinaryIO, int]:
    decoded, size = spool(), 0
    try:
        while data := body.read(65536):
            decoded.write(data)
            size += len(data)
    except BaseException:
        decoded.close()
        raise
    decoded.seek(0)
    return decoded, size


class ChunkScanner:
    """Finds the end of a chunked body (RFC 9112 section 7.1) as its bytes come in.

    Decides only where the body ends; whether it is well formed is gunicorn's
    parser to say, which gets all of it. Anything that cannot be chunked coding
    ends the body at once, for the parser to refuse.
    """

    _MOST_LINE = 8192
    _MOST_TRAILERS = 64 * 1024

    def __init__(self) -> None:
        self.done = False
        self._left = 0
        """Bytes of the current chunk, with its CRLF, that have not come yet."""
        self._line = b""
        self._in_trailers = False
        self._trailers = 0

    def feed(self, data: bytes) -> int:
        """How many of ``data``'s bytes belong to the body."""
        used = 0
        while used < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - used)
                self._left -= step
                used += step
            else:
                used = self._feed_line(data, used)
        return used

    def _feed_line(self, data: bytes, start: int) -> int:
        end = data.find(b"\n", start) + 1
        self._line += data[start : end or len(data)]
        if len(self._line) > self._MOST_LINE:
            self.done = True
        if end:
            line, self._line = self._line, b""
            self._line_ended(line)
        return end or len(data)

    def _line_ended(self, line: bytes) -> None:
        if self._in_trailers:
            self._trailers += len(line)
            self.done = line == b"\r\n" or self._trailers > self._MOST_TRAILERS
            return
        digits = line.split(b";", 1)[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            self.done = True
            return
        if size == 0:
            self._in_trailers = True
        elif size < 0:
            self.done = True
        else:
            self._left = size + 2


__all__ = [
    "IN_KERNEL",
    "Arrived",
    "ChunkScanner",
    "Framing",
    "Incoming",
    "NeedMore",
    "NoMoreData",
    "may_be_complete",
    "parse",
    "spool",
]
