"""From the app's answer to bytes: gunicorn's rules, as few sends as can be.

Head and body leave in one send. What the client does not take at once is left
to the event loop, so a slow reader costs no thread.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader
from gunicorn.http.wsgi import FileWrapper
from gunicorn.http.wsgi import Response as GunicornResponse

from launcher.ipc.notes import CLOSES, LENGTH_UNKNOWN, Notepad
from launcher.worker import forked
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.outgoing import FilePart
from launcher.worker.connection.phase import Broken
from launcher.worker.connection.unread import LARGE, Unread
from launcher.worker.exchange.closing import Closing

_SWITCHING_PROTOCOLS, _RESET_CONTENT = 101, 205


class Abandoned(Broken):
    """The request has taken too long and its client has had a 504: this answer is too late."""


class Response(GunicornResponse):
    """gunicorn's response, which collects its bytes and sends many at once."""

    def __init__(
        self,
        req: Any,
        conn: Connection,
        cfg: Config,
        pad: Notepad,
        closing: Closing,
        unread: Unread,
    ) -> None:
        super().__init__(req, conn.sock, cfg)
        self._conn = conn
        self._pad = pad
        self._closing = closing
        self._unread = unread
        self._collected: list[bytes] = []
        self._start = conn.written
        self._announced = False
        self._ended = False
        self._excess = False
        """Whether the app has given more than it announced."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """As gunicorn's, for what HTTP allows as the final response to this request.

        Raises ValueError for another status (RFC 9110 section 15): a client would take the
        response for an interim one, and the next response for this request's. A response that
        was refused has not begun, even when the app goes on as if it had.
        """
        begins = exc_info is not None or self.status is None
        try:
            write: Callable[[bytes], None] = super().start_response(status, headers, exc_info)
            self._check_status()
        except BaseException:
            if begins and not self.headers_sent:
                self.status = None
            raise
        return write

    def _check_status(self) -> None:
        code = self.status_code
        if code == _SWITCHING_PROTOCOLS and self._may_switch():
            self.upgrade = True
            self.force_close()  # the next bytes on this connection are no request
        elif not 200 <= code <= 599:
            raise ValueError(f"Invalid status {self.status!r}: not one of a final response")
        elif (
            code == _RESET_CONTENT
        ):  # section 15.3.6; clients do not tell by the status that there is none
            self.response_length = 0
            self.headers.append(("Content-Length", "0"))

    def _may_switch(self) -> bool:
        """Whether the client has asked for another protocol, and the app says for which."""
        names = {name.lower() for name, _ in self.headers}
        asked = self._conn.lent is not None and self.req.version >= (1, 1)
        return asked and "upgrade" in names

    @staticmethod
    def _response_omits_body(method: str, status: int) -> bool:
        """Overridden: 205 has no content either (RFC 9110 section 15.3.6)."""
        omits: bool = GunicornResponse._response_omits_body(method, status)
        return omits or status == _RESET_CONTENT

    @staticmethod
    def _response_forbids_content_length(status: int) -> bool:
        """Overridden: 205 has no content, so an app's Content-Length is dropped."""
        forbids: bool = GunicornResponse._response_forbids_content_length(status)
        return forbids or status == _RESET_CONTENT

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """As gunicorn's, but an app's ``Connection: close`` is honoured.

        And a second head replaces the first (PEP 3333); gunicorn's keeps the fields of both.
        Clients that read a length otherwise than gunicorn does, or not at all, would
        take the body for the next response: InvalidResponseHeader. The same
        length twice is sent once (RFC 9110 section 8.6).
        """
        headers = list(headers)
        lengths = [str(value).strip(" \t") for name, value in headers if is_length(name)]
        valid = all(text.isascii() and text.isdecimal() for text in lengths)
        if len({*lengths}) > 1 or not valid:
            raise InvalidResponseHeader(f"Content-Length: {', '.join(sorted({*lengths}))}")
        self.headers = []
        self.response_length = None
        self.upgrade = False
        first = next((field for field in headers if is_length(field[0])), None)
        super().process_headers(
            [field for field in headers if field is first or not is_length(field[0])]
        )
        for name, value in headers:
            if name.lower() == "connection" and value.strip().lower() == "close":
                self.force_close()

    def send_headers(self) -> None:
        """Overridden: the head waits for the body."""
        if self.headers_sent:
            return
        if self._closing.ends(self._conn):
            self.force_close()
        incoming = self._conn.incoming
        if incoming and not incoming.settle():
            self.force_close()  # RFC 9112 section 9.3: where the next request begins is not known
        first = self._status_line()
        _, *defaults = self.default_headers()
        if self.upgrade and self.should_close() and self.status_code != _SWITCHING_PROTOCOLS:
            defaults[2] = "Connection: upgrade, close\r\n"  # gunicorn's line has one of the two
        lines = [first, *defaults, *(f"{key}: {value}\r\n" for key, value in self.headers)]
        lines.append("\r\n")
        self._collected.append(util.to_bytestring("".join(lines), "latin-1"))
        self.headers_sent = True
        if self.status_code == _SWITCHING_PROTOCOLS:
            self._send_last()  # from here on the app uses the socket itself

    def write(self, arg: bytes) -> None:
        """Overridden: note whether the app gives more than it has announced."""
        announced = self.response_length
        if announced is not None and isinstance(arg, bytes) and not self._omits_body:
            self._excess = self._excess or self.sent + len(arg) > announced
        super().write(arg)

    def write_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send what the app gives."""
        number = number_of(pieces)
        if number == 0:
            self.count(b"")
        for piece in pieces:
            if number == 1:
                self.count(piece)
            self.write(piece)

    def count(self, piece: bytes) -> None:
        """Announce the only piece, if the app has not (PEP 3333, "Content-Length Header").

        Not to HEAD, whose response has no body; the length for GET is not known.
        """
        announced = self.status is None or self.headers_sent or self.response_length is not None
        if announced or self._omits_body or not isinstance(piece, bytes):
            return
        self.response_length = len(piece)
        self.headers.append(("Content-Length", str(len(piece))))
        self.chunked = False

    def _emit_body(self, data: bytes) -> None:
        """Overridden: head and body leave together.

        PEP 3333 wants a piece on its way before the app is asked for the next one, also
        the last piece of a response whose length is known. An empty piece does not
        begin the response.
        """
        if not data:
            return
        if self.chunked:
            self._collected += (b"%X\r\n" % len(data), data, b"\r\n")
        else:
            self._collected.append(data)
        if self.response_length is not None and self.sent >= self.response_length:
            self._send_last()
        else:
            self._send_piece()

    def close(self) -> None:
        """The app has finished: send what is left."""
        self.send_headers()
        if self.chunked:
            self._collected.append(b"0\r\n\r\n")
        if self._collected:
            self._send_last()
        self._ended = True

    def sendfile(self, respiter: FileWrapper) -> bool:
        """Overridden: the event loop sends what the client does not take at once."""
        if not self.can_sendfile() or not util.has_fileno(respiter.filelike):
            return False
        fileno = respiter.filelike.fileno()
        try:
            offset = os.lseek(fileno, 0, os.SEEK_CUR)
            size = os.fstat(fileno).st_size - offset
        except (OSError, io.UnsupportedOperation):
            return False
        if size <= 0 or self._omits_body:
            return self._omits_body
        count = size if self.response_length is None else min(size, self.response_length)
        self.send_headers()
        self.sent += count
        if self.chunked:
            self._collected.append(b"%X\r\n" % count)
        head = b"".join(self._take())
        if self.chunked:
            self._collected.append(b"\r\n")
            self._announce(LENGTH_UNKNOWN)
        else:
            self._note_length(len(head) + count)
        self._conn.send_file(head, FilePart(os.dup(fileno), offset, count))
        return True

    @property
    def begun(self) -> bool:
        """Whether a part has been handed to the connection; an interim response does not count."""
        return self._ended or self._announced

    @property
    def complete(self) -> bool:
        """Whether the whole has been handed to the connection."""
        announced = self.response_length
        filled = announced is not None and self.begun and self.sent >= announced
        return (filled or self._ended) and not self.short()

    def mark_sent(self) -> None:
        """`PlainResponse` has sent the whole: no byte that the app still gives goes out."""
        self.headers_sent = True
        self.sent = self.response_length or 0
        self._ended = True

    def short(self) -> bool:
        """Whether the app sent less than it had announced."""
        announced = self.response_length
        return announced is not None and not self._omits_body and self.sent < announced

    def complaint(self) -> str | None:
        """What to tell of a length that is not as the app has announced it; None: it is."""
        if not (self._excess or self.short()):
            return None
        much = "more" if self._excess else "less"
        return f"the app sent {much} than its Content-Length of {self.response_length}"

    def _status_line(self) -> str:
        """As RFC 9112 section 4 has it; gunicorn's is less strict.

        The version is at most 1.1, and a status without a reason keeps its space.
        """
        if self.status is None:
            raise RuntimeError("the app has not called start_response()")
        major, minor = min(self.req.version, (1, 1))
        space = "" if " " in self.status else " "
        return f"HTTP/{major}.{minor} {self.status}{space}\r\n"

    def _send_last(self) -> None:
        parts = self._take()
        self._note_length(sum(map(len, parts)))
        self._unread.deliver(self._conn, self._pad, parts)

    def _send_piece(self) -> None:
        self._announce(LENGTH_UNKNOWN)
        self._unread.deliver(self._conn, self._pad, self._take())
        self._pad.progressed(time.monotonic_ns())

    def _note_length(self, last: int) -> None:
        """Note the length of the whole response, of which ``last`` bytes are about to go."""
        length = self._conn.written - self._start + len(self._conn.outgoing) + last
        closes = self.should_close() or self.short()
        self._announce(length | (CLOSES if closes else 0))

    def _announce(self, length: int) -> None:
        """Note the response, then look whether it is still wanted.

        `Crew.end_overdue` abandons the request and then looks for the note. Each of the
        two writes first and then looks, so at most one of them answers the client.
        """
        if forked.in_child:
            forked.leave()
        self._pad.answer(length)
        self._announced = True
        if self._conn.abandoned:
            raise Abandoned

    def _take(self) -> list[bytes]:
        """The collected bytes: as one, unless they are so many that a copy would cost more."""
        parts, self._collected = self._collected, []
        return parts if sum(map(len, parts)) > LARGE else [b"".join(parts)]


def is_length(name: Any) -> bool:
    """Whether a field of that name is Content-Length."""
    return str(name).lower() == "content-length"


def number_of(pieces: Any) -> int:
    """How many pieces an app's iterable has, if it knows; else -1."""
    try:
        return len(pieces)
    except Exception:  # it is the app's own
        return -1
