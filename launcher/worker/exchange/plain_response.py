"""A plain response: its fields are known from the last time, and its body is one piece.

One that turns out not to be plain (it is streamed, a file, an error) goes on as gunicorn's
response (`PlainResponse.fall_back`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gunicorn import SERVER
from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, FileWrapper
from gunicorn.util import http_date, is_hoppish

from launcher.ipc.notes import CLOSES, Notepad
from launcher.worker import forked
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.unread import LARGE
from launcher.worker.exchange.exchange import Exchange
from launcher.worker.exchange.hints import early_hints
from launcher.worker.exchange.remembered import Remembered
from launcher.worker.exchange.response import Abandoned, Response, number_of

_PLAIN_STATUS = re.compile(r"(?!20[45]|304)[2-5][0-9]{2} [ \t\x21-\x7e\x80-\xff]*")
"""gunicorn's STATUS_RE, less those that have no body or no space behind them."""

_UNCOUNTED = -2
"""Instead of a body's length: the app has not told it. The server may count (PEP 3333)."""

_NEVER = -1
"""Instead of a body's length: no piece completes the response, or it is complete."""


class Head(NamedTuple):
    """The fields of a plain response."""

    lines: bytes
    """Without the line that ends them where the length is not known."""
    length: int
    """Of the body, or `_UNCOUNTED`."""


class ResponseHeads:
    """The heads of plain responses, of one worker. For all of its threads."""

    def __init__(self) -> None:
        self._fields: Remembered[tuple[str, str], bytes] = Remembered()
        self._heads: Remembered[tuple[Any, ...], Head] = Remembered()
        self._first_lines: Remembered[tuple[str, bool], bytes] = Remembered()
        self._date = ""
        self.dated_until = 0
        """Until when `first_lines` has the right date; monotonic nanoseconds."""

    def date(self, now: int) -> None:
        """Have `first_lines` tell the date of now (``now``: monotonic nanoseconds)."""
        if now < self.dated_until:
            return
        date = time.time()
        self.dated_until = now + int((1 - date % 1) * 1e9)
        self._date = http_date(date)
        self._first_lines.clear()

    def head(self, status: str, headers: list[tuple[str, str]]) -> Head | None:
        """What the fields of a response come to; None: it is not plain."""
        if type(headers) is not list:  # to go through it might use it up
            return None
        try:
            known = self._heads.get((status, *headers))
        except TypeError:  # a header that is no tuple
            return None
        return known or self._read_head(status, headers)

    def first_lines(self, status: str, closes: bool) -> bytes:
        """Status, server, date and connection: they stay the same for a second."""
        lines = self._first_lines.get((status, closes))
        if lines is None:
            connection = "close" if closes else "keep-alive"
            lines = (
                f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {self._date}\r\n"
                f"Connection: {connection}\r\n"
            ).encode("latin-1")
            self._first_lines.put((status, closes), lines, len(lines))
        return lines

    # New fields are checked by gunicorn's rules, then remembered

    def _read_head(self, status: str, headers: list[tuple[str, str]]) -> Head | None:
        if not isinstance(status, str) or not _PLAIN_STATUS.fullmatch(status):
            return None
        length = _NEVER
        lines = []
        for field in headers:
            if field[0] == "Content-Length":
                if length >= 0 or not (field[1].isdecimal() and field[1].isascii()):
                    return None
                length = int(field[1])
                lines.append(f"Content-Length: {field[1]}\r\n".encode())
                continue
            line = self._fields.get(field) or self._read_field(field)
            if line is None:
                return None
            lines.append(line)
        head = Head(b"".join(lines), _UNCOUNTED)
        if length >= 0:
            head = Head(head.lines + b"\r\n", length)
        size = len(status) + sum(len(name) + len(value) for name, value in headers)
        self._heads.put((status, *headers), head, size)
        return head

    def _read_field(self, field: tuple[str, str]) -> bytes | None:
        name, value = field
        if not (isinstance(name, str) and isinstance(value, str) and TOKEN_RE.fullmatch(name)):
            return None
        if not HEADER_VALUE_RE.fullmatch(value):
            return None
        if name.lower() == "content-length" or is_hoppish(name):
            return None
        value = value.strip(" \t")
        line = f"{name}: {value}\r\n".encode("latin-1")
        self._fields.put(field, line, len(field[0]) + len(field[1]))
        return line


class PlainResponse:
    """The WSGI side of one plain response, for as long as it is one."""

    __slots__ = (
        "_conn",
        "_data",
        "_exchange",
        "_given",
        "_head",
        "_heads",
        "_hold",
        "_length",
        "_pad",
        "closes",
        "reference",
        "sent",
    )

    def __init__(
        self,
        heads: ResponseHeads,
        exchange: Exchange,
        data: bytes,
        conn: Connection,
        pad: Notepad,
        closes: bool,
        hold: bool,
    ) -> None:
        """``data``: the request. ``closes``: the connection ends with this response.

        ``hold``: it is not sent but left in ``conn.held``.
        """
        self._heads = heads
        self._exchange = exchange
        self._data = data
        self._conn = conn
        self._pad = pad
        self._given: tuple[str, list[tuple[str, str]]] | None = None
        self._head = b""
        self._length = _NEVER
        """Bytes of the piece that completes the response, or `_UNCOUNTED`, or `_NEVER`."""
        self.closes = closes
        self._hold = hold
        self.sent = False
        """Whether the whole response is sent, or held to be sent."""
        self.reference: Response | None = None
        """gunicorn's response, once this one has turned out not to be plain."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """As PEP 3333 says."""
        if exc_info is None and self._given is None and self.reference is None:
            plain = self._heads.head(status, headers)
            if plain:
                self._given = (status, headers)
                self._head, self._length = plain
                return self._write
        write: Callable[[bytes], None] = self.fall_back().start_response(status, headers, exc_info)
        return write

    def give(self, pieces: Iterable[bytes]) -> bool:
        """Send what the app gives; whether the connection can have another request."""
        if isinstance(pieces, FileWrapper):
            self.fall_back().write_file(pieces)
        else:
            number = number_of(pieces) if self._length < 0 else -1
            if number == 0:
                self._count(b"")
            for piece in pieces:
                if number == 1:
                    self._count(piece)
                if type(piece) is bytes and len(piece) == self._length:
                    self._send(piece)
                else:
                    self.fall_back().write(piece)
        if self._length == 0:
            self._send(b"")
        if not self.sent:
            self.fall_back().close()
        return self._ends_well()

    def _count(self, piece: bytes) -> None:
        """As `Response.count`."""
        if self.reference:
            self.reference.count(piece)
        elif self._length == _UNCOUNTED and self._given and type(piece) is bytes:
            self._length = len(piece)
            self._head += b"Content-Length: %d\r\n\r\n" % self._length
            status, headers = self._given
            self._given = status, [*headers, ("Content-Length", str(self._length))]

    def _send(self, body: bytes) -> None:
        """Send the whole response, or hold it."""
        assert self._given
        if forked.in_child:
            forked.leave()
        closing = self._exchange.closing
        if closing.begun and closing.ends(self._conn):
            self.closes = True
        first = self._heads.first_lines(self._given[0], self.closes)
        if len(body) > LARGE:
            self._send_large(first + self._head, body)
            return
        data = b"".join((first, self._head, body))
        if self._hold:
            self.sent = True
            self._length = _NEVER
            self._conn.held = data
            return
        self._announce(len(data))
        if not self._conn.send(data):
            self._exchange.unread.stay(self._conn, self._pad)

    def _send_large(self, head: bytes, body: bytes) -> None:
        """As `_send`, in parts, and never held, because that takes memory."""
        self._announce(len(head) + len(body))
        self._exchange.unread.deliver(self._conn, self._pad, (head, body))

    def _announce(self, size: int) -> None:
        """As `Response._announce`."""
        self._pad.answer(size | (CLOSES if self.closes else 0))
        if self._conn.abandoned:
            raise Abandoned
        self.sent = True
        self._length = _NEVER

    def fall_back(self) -> Response:
        """Go on with gunicorn's response, also where this one is sent and the app gives more."""
        if self.reference is None:
            self._length = _NEVER
            self.reference = self._exchange.reference(
                self._data, self._conn, self._pad, self.closes
            )
            if self._given:
                self.reference.start_response(*self._given)
            if self.sent:
                self.reference.mark_sent()
        return self.reference

    def _ends_well(self) -> bool:
        """Whether the connection can have another request, now that the app is done."""
        reference = self.reference
        if reference is None:
            return not self.closes
        self._exchange.check_length(reference.req, reference)
        return not (self.closes or reference.should_close() or reference.short())

    def early_hints(self, headers: list[tuple[str, str]]) -> None:
        """``wsgi.early_hints``, as gunicorn has it."""
        early_hints(self.fall_back(), self._conn)(headers)

    def _write(self, data: bytes) -> None:
        self.fall_back().write(data)
