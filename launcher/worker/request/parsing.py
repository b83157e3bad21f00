"""From bytes to a request: gunicorn's parser, fed with what has arrived so far."""

from __future__ import annotations

import io
import re
from enum import Enum, auto
from typing import Any, Protocol

from gunicorn.config import Config
from gunicorn.http.body import CHUNK_EXT_RE, Body, ChunkedReader, LengthReader
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    InvalidRequestMethod,
    LimitRequestHeaders,
    NoMoreData,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import TOKEN_RE, Request
from gunicorn.http.unreader import Unreader

IN_KERNEL = 64 * 1024
"""Bytes of a request, head and body, that may wait in the kernel's receive buffer.

Well below the least that Linux gives a TCP socket by default (tcp(7), 128 KiB
less overhead), so that a request of this size always fits."""

MOST_HEAD = 64 * 1024
"""Bytes of a request's head. gunicorn's own limits per line and field apply besides."""

_BLOCK = 64 * 1024
"""Bytes of a body that are read at once. gunicorn's reader asks for all that is left, and
copies what it gets at every read of the app."""

HOST_RE = re.compile(
    r"(?:\[[0-9A-Za-z:.\-_~!$&'()*+,;=]+\]|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    r"(?::[0-9]*)?"
)
"""The value of Host: RFC 9110 section 7.2, but never empty, because no http or https
URI has an empty host (section 4.2)."""


class Readable(Protocol):
    """What a body can be read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""


class Writable(Readable, Protocol):
    """Where a body can be put, to be read from the beginning."""

    def write(self, data: bytes, /) -> object:
        """Add to it."""


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
        """The text of the header that a proxy has sent before; see ``proxied.py``."""
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
        """Let the app read the body, in whatever coding it came, from ``file``."""
        self.source.read_from(file)

    def decode_body(self, file: Readable, decoded: Writable) -> None:
        """Let the app read a chunked body from ``decoded``, where it is put from ``file``.

        Raises gunicorn's parse errors.
        """
        self.read_body_from(file)
        size = _decode(self.request.body, decoded)
        if self.source.rest() or file.read(1):
            # The parser sees its end elsewhere than we do; neither is to be trusted.
            raise InvalidChunkSize(b"data after the last chunk")
        source = _Source(b"", complete=True)
        source.read_from(decoded)
        self.request.body = Body(LengthReader(source, size))


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
    except UnsupportedTransferCoding as error:
        if _is_list_of_tokens(error.hdr):
            raise
        raise InvalidHeader("TRANSFER-ENCODING") from None
    check(request)
    return Arrived(request, source, len(data))


def check(request: Any) -> None:
    """Refuse what gunicorn's parser lets pass and RFC 9112 does not; it raises the same errors.

    Of an absolute-form target the host is taken, whatever Host says (section 3.2.2).
    """
    if request.method == "CONNECT":
        # RFC 9110 section 9.3.6: asks for a tunnel, which no WSGI app can be.
        raise InvalidRequestMethod(request.method)
    host = next((value for name, value in request.headers if name == "HOST"), None)
    if host is None:
        if request.version >= (1, 1):
            raise InvalidHeader("HOST", req=request)
    elif not HOST_RE.fullmatch(host):  # section 3.2; that there is but one, gunicorn sees to
        raise InvalidHeader("HOST", req=request)
    if "://" in request.uri and not request.uri.startswith("/"):
        _take_host_of_target(request)
    if _asks_to_close(request):
        request.force_close()


def _take_host_of_target(request: Any) -> None:
    authority = re.split("[/?#]", request.uri.partition("://")[2], maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if not HOST_RE.fullmatch(host):
        raise InvalidRequestLine(request.uri)
    others = [field for field in request.headers if field[0] != "HOST"]
    request.headers = [("HOST", host), *others]


def _asks_to_close(request: Any) -> bool:
    """Whether ``close`` is among the connection options (section 9.6); gunicorn reads but one."""
    return any(
        option.strip(" \t").lower() == "close"
        for name, value in request.headers
        if name == "CONNECTION"
        for option in value.split(",")
    )


def _is_list_of_tokens(value: str) -> bool:
    """Whether ``value`` names transfer codings, known or not (RFC 9112 section 7)."""
    return all(TOKEN_RE.fullmatch(member.strip(" \t")) for member in value.split(","))


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


class _Place(Enum):
    """Where in a chunked body the next line is."""

    SIZE = auto()
    DATA_END = auto()
    TRAILERS = auto()


class ChunkScanner:
    """Finds the end of a chunked body (RFC 9112 section 7.1) as its bytes come in.

    Decides only where the body ends; whether it is well formed is gunicorn's
    parser to say, which gets all of it. What cannot be chunked coding ends the
    body at once, so that the parser refuses it now and does not wait for more.
    """

    _MOST_LINE = 8192
    _MOST_TRAILERS = 64 * 1024
    _MOST_EXCESS = 16 * 1024
    """Bytes of chunk extensions that no data makes up for; see `_exceeds`."""
    _SIZE_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,16})" + CHUNK_EXT_RE.pattern + rb"\r\n")
    """No more than 16 digits, which no file is long enough for: "anticipate potentially large
    hexadecimal numerals" (section 7.1). Go's net/http has the same bound."""
    _SIZE_LINE_BEGUN = re.compile(rb"0*[0-9A-Fa-f]{0,16}(?:(?<=[0-9A-Fa-f])(?:[ \t;][^\r]*)?\r?)?")

    def __init__(self) -> None:
        self.done = False
        self.size = 0
        """Bytes of data in the chunks so far, with what is yet to come of the current one."""
        self._place = _Place.SIZE
        self._left = 0
        """Bytes of the current chunk that have not come yet."""
        self._line = b""
        self._trailers = 0
        self._excess = 0

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
        if end:
            line, self._line = self._line, b""
            self.done = len(line) > self._MOST_LINE or not self._goes_on_after(line)
        else:
            self.done = len(self._line) > self._MOST_LINE or not self._may_go_on(self._line)
        return end or len(data)

    def _may_go_on(self, begun: bytes) -> bool:
        """Whether anything that follows can make a line of it."""
        if self._place is _Place.DATA_END:
            return begun == b"\r"
        return self._place is not _Place.SIZE or bool(self._SIZE_LINE_BEGUN.fullmatch(begun))

    def _goes_on_after(self, line: bytes) -> bool:
        if self._place is _Place.TRAILERS:
            self._trailers += len(line)
            too_many = self._trailers > self._MOST_TRAILERS
            field = line.find(b":") > 0 or line[0] in b" \t"  # or, folded, more of one
            return field and line.endswith(b"\r\n") and not too_many
        if self._place is _Place.DATA_END:
            self._place = _Place.SIZE
            return line == b"\r\n"
        size = self._SIZE_LINE.fullmatch(line)
        self._left = int(size[1], 16) if size else 0
        self.size += self._left
        self._place = _Place.DATA_END if self._left else _Place.TRAILERS
        return bool(size) and not self._exceeds(len(line))

    def _exceeds(self, line: int) -> bool:
        """Whether too much of the body is not data (section 7.1.1), by the rule of Go's net/http.

        A chunk may have 16 bytes of framing and twice as much as its data; what
        is beyond that adds up.
        """
        self._excess = max(0, self._excess + line - 16 - 2 * self._left)
        return self._excess > self._MOST_EXCESS


__all__ = [
    "IN_KERNEL",
    "Arrived",
    "ChunkScanner",
    "Framing",
    "NeedMore",
    "NoMoreData",
    "may_be_complete",
    "parse",
]
