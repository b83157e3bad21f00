"""The plain request: parsed and answered with everything that can be prepared once prepared.

A plain request has a complete head, no body, and nothing in it that needs a
decision (`_NEEDS_POLICY`). Most are. The rest, and every plain request that
turns out not to be one (a streamed response, an error), takes gunicorn's own
parser and response in ``parsing.py`` and ``response.py``: nothing here decides
otherwise than they do, and ``tests/http/test_hotpath.py`` compares the two.

What makes it fast is that clients repeat themselves. The lines of a head, the
fields of a response and its first lines are each looked at once and remembered
as what they come to; a line that is new is checked with gunicorn's own rules.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gunicorn import SERVER
from gunicorn.http.message import RFC9110_5_5_INVALID_AND_DANGEROUS as CONTROL_RE
from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, FileWrapper, base_environ
from gunicorn.util import http_date, is_hoppish, unquote_to_wsgi_str
from gunicorn.workers.base import Worker as GunicornWorker

from launcher import current_worker
from launcher.ipc.notes import CLOSES
from launcher.policy.serving.waiting import Forecast, Route
from launcher.worker import forked
from launcher.worker.connection.connection import Broken
from launcher.worker.connection.unread import LARGE
from launcher.worker.exchange.closing import Closing
from launcher.worker.exchange.exchange import SAFE_METHODS
from launcher.worker.exchange.hints import early_hints
from launcher.worker.exchange.input import Input
from launcher.worker.exchange.response import Abandoned, Response, number_of
from launcher.worker.request.rules import HOST_RE

if TYPE_CHECKING:
    from launcher.ipc.notes import Notepad
    from launcher.worker.connection.connection import Connection
    from launcher.worker.exchange.exchange import Exchange

MOST_REMEMBERED = 4096
"""Entries of each memory; a full one is emptied. Bounds what a hostile client can fill."""

MOST_HEADS = 256
"""Whole heads that are remembered per listener: a client that keeps its connection
asks for the same again and again."""

_LONGEST_REMEMBERED = 1024
"""Bytes of what is worth remembering."""

# Origin-form only, and no fragment: gunicorn takes more, and gets it.
_REQUEST_LINE = re.compile(
    rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}) (/(?!/)[!\"$-~]*) HTTP/1\.1", re.DOTALL
)

_WITH_POLICY = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})
"""Fields that take the reference path; so does every name with an underscore,
and those that the configuration gives a meaning (``secure_scheme_headers``)."""

_NO_BODY_METHODS = frozenset({"HEAD", "CONNECT"})

_PLAIN_STATUS = re.compile(r"(?!20[45]|304)[2-5][0-9]{2} [ \t\x21-\x7e\x80-\xff]*")
"""gunicorn's STATUS_RE, less those that have no body or no space behind them."""

_UNCOUNTED = -2
"""Instead of a body's length: the app has not said it. The server may (PEP 3333)."""

_Head = tuple[bytes, int]


class PlainHead:
    """What the head of a plain request comes to."""

    __slots__ = ("closes", "environ", "method", "path", "route", "safe")

    def __init__(self, environ: dict[str, Any], route: Route) -> None:
        self.environ = environ
        """Of every request with this head, but for what differs between connections."""
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ["PATH_INFO"]
        self.safe = self.method in SAFE_METHODS
        self.closes = environ.get("HTTP_CONNECTION", "").lower() == "close"
        self.route = route


class HotPath:
    """What a worker has prepared for plain requests."""

    def __init__(
        self,
        worker: GunicornWorker,
        exchange: Exchange,
        multithread: bool,
        closing: Closing,
        forecast: Forecast,
    ) -> None:
        self.closing = closing
        self.unread = exchange.unread
        self._forecast = forecast
        self._cfg = worker.cfg
        self._exchange = exchange
        self._app: Callable[..., Iterable[bytes]] = worker.wsgi
        self._bases = [self._base(address, multithread) for address in exchange.servers]
        self._heads: list[dict[bytes, PlainHead]] = [{} for _ in self._bases]
        self._request_lines: dict[bytes, dict[str, str]] = {}
        self._fields: dict[bytes, tuple[str, Any]] = {}
        self._response_fields: dict[tuple[str, str], bytes] = {}
        self._response_heads: dict[tuple[Any, ...], _Head] = {}
        self._first_lines: dict[tuple[str, bool], bytes] = {}
        self._date = ""
        self._dated_until = 0
        self._policy = _WITH_POLICY | self._cfg.secure_scheme_headers.keys()
        self._most_fields = self._cfg.limit_request_fields
        self._longest_line = self._cfg.limit_request_line
        self._longest_field = self._cfg.limit_request_field_size

    @staticmethod
    def available(worker: GunicornWorker) -> bool:
        """Whether the configuration leaves plain requests plain."""
        cfg = worker.cfg
        return not (
            cfg.is_ssl
            or cfg.proxy_protocol != "off"
            or cfg.protocol != "http"
            or cfg.permit_unconventional_http_method
            or cfg.permit_unconventional_http_version
            or cfg.permit_obsolete_folding
            or cfg.strip_header_spaces
            or cfg.casefold_http_method
            or cfg.header_map == "dangerous"
            or os.environ.get("SCRIPT_NAME")
            or worker.log.access_log_enabled
            or _has_hooks(cfg)
        )

    def head_of(self, data: bytes, listener: int) -> PlainHead | None:
        """The head in ``data``; None when that is not a plain request."""
        return self._heads[listener].get(data) or self._read_head(data, listener)

    def run(
        self,
        data: bytes,
        head: PlainHead,
        conn: Connection,
        pad: Notepad,
        now: int,
        last: bool,
        hold: bool,
    ) -> bool:
        """Answer the plain request in ``data``. Whether the connection can have another after it.

        ``now``: monotonic nanoseconds. ``last``: the connection ends with this
        response, whoever stays. ``hold``: a plain response is not sent but left in ``conn.held``.
        Raises Broken when the client is gone.
        """
        conn.requests += 1
        if now >= self._dated_until:
            self._date_anew(now)
        response = _PlainResponse(self, data, conn, pad, last or head.closes, hold)
        environ = head.environ.copy()
        environ["REMOTE_ADDR"] = conn.host
        environ["REMOTE_PORT"] = conn.port_text
        environ["gunicorn.socket"] = conn.sock
        environ["wsgi.early_hints"] = response.early_hints
        try:
            try:
                pieces = self._app(environ, response.start_response)
                try:
                    return _send(pieces, response)
                finally:
                    if hasattr(pieces, "close"):
                        pieces.close()
            finally:
                if forked.in_child:
                    forked.leave()
        except Broken:
            raise
        except StopIteration:
            return False  # how an app says that it has used the socket itself
        except BaseException as error:  # asyncio's CancelledError is no Exception
            request = self._exchange.request_of(data, conn)
            begun = response.fall_back() if response.sent else response.reference
            return self._exchange.failed(conn, request, begun, error)

    def response_head(self, status: str, headers: list[tuple[str, str]]) -> _Head | None:
        """A plain response's fields as bytes, and the length of its body; None: not plain.

        Without a length (`_UNCOUNTED`) the fields lack the line that ends them.
        """
        if type(headers) is not list:  # looking at it might use it up
            return None
        try:
            known = self._response_heads.get((status, *headers))
        except TypeError:  # a header that is no tuple
            return None
        return known or self._read_response_head(status, headers)

    def first_lines(self, status: str, closes: bool) -> bytes:
        """Status, server, date and connection: the same for a second."""
        lines = self._first_lines.get((status, closes))
        if lines is None:
            connection = "close" if closes else "keep-alive"
            lines = (
                f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {self._date}\r\n"
                f"Connection: {connection}\r\n"
            ).encode("latin-1")
            _remember(self._first_lines, (status, closes), lines, len(lines))
        return lines

    def reference(self, data: bytes, conn: Connection, pad: Notepad, closes: bool) -> Response:
        """What answers the request in ``data`` when its response is not plain."""
        response = self._exchange.response(self._exchange.request_of(data, conn), conn, pad)
        if closes:
            response.force_close()
        return response

    def check_length(self, response: Response) -> None:
        """As `Exchange.check_length`."""
        self._exchange.check_length(response.req, response)

    def _date_anew(self, now: int) -> None:
        date = time.time()
        self._dated_until = now + int((1 - date % 1) * 1e9)
        self._date = http_date(date)
        self._first_lines.clear()

    # What is new is checked with gunicorn's rules, then remembered

    def _read_head(self, data: bytes, listener: int) -> PlainHead | None:
        base = self._bases[listener]
        if base is None or not data.endswith(b"\r\n\r\n"):
            return None
        first, *lines = data[:-4].split(b"\r\n")
        line = self._request_lines.get(first) or self._read_request_line(first)
        if line is None or not 0 < len(lines) <= self._most_fields:
            return None
        environ = {**base, **line}
        fields = self._fields
        for raw in lines:
            field = fields.get(raw) or self._read_field(raw)
            if field is None or field[0] in environ:
                return None
            environ[field[0]] = field[1]
        if "HTTP_HOST" not in environ:
            return None
        route = self._forecast.route(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        head = PlainHead(environ, route)
        _remember(self._heads[listener], data, head, len(data), most=MOST_HEADS)
        return head

    def _read_request_line(self, line: bytes) -> dict[str, str] | None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or len(line) > self._longest_line > 0:
            return None
        method, uri = match[1].decode(), match[2].decode()
        if method in _NO_BODY_METHODS:
            return None
        path, _, query = uri.partition("?")
        read = {
            "REQUEST_METHOD": method,
            "RAW_URI": uri,
            "PATH_INFO": unquote_to_wsgi_str(path) if "%" in path else path,
            "QUERY_STRING": query,
        }
        _remember(self._request_lines, line, read, len(line))
        return read

    def _read_field(self, line: bytes) -> tuple[str, str] | None:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not TOKEN_RE.fullmatch(name) or "_" in name:
            return None
        name = name.upper()
        value = value.strip(" \t")
        if name == "CONNECTION" and "," in value:
            return None  # one of its members may be "close"
        too_long = len(line) + 2 > self._longest_field > 0
        if too_long or name in self._policy or CONTROL_RE.search(value):
            return None
        if name == "HOST" and not HOST_RE.fullmatch(value):
            return None
        key = "CONTENT_TYPE" if name == "CONTENT-TYPE" else "HTTP_" + name.replace("-", "_")
        _remember(self._fields, line, (key, value), len(line))
        return key, value

    def _read_response_head(self, status: str, headers: list[tuple[str, str]]) -> _Head | None:
        if not isinstance(status, str) or not _PLAIN_STATUS.fullmatch(status):
            return None
        length = -1
        lines = []
        for field in headers:
            if field[0] == "Content-Length":
                if length >= 0 or not (field[1].isdecimal() and field[1].isascii()):
                    return None
                length = int(field[1])
                lines.append(f"Content-Length: {field[1]}\r\n".encode())
                continue
            line = self._response_fields.get(field) or self._read_response_field(field)
            if line is None:
                return None
            lines.append(line)
        head = (b"".join(lines), _UNCOUNTED)
        if length >= 0:
            head = (head[0] + b"\r\n", length)
        size = len(status) + sum(len(name) + len(value) for name, value in headers)
        _remember(self._response_heads, (status, *headers), head, size)
        return head

    def _read_response_field(self, field: tuple[str, str]) -> bytes | None:
        name, value = field
        if not (isinstance(name, str) and isinstance(value, str) and TOKEN_RE.fullmatch(name)):
            return None
        if not HEADER_VALUE_RE.fullmatch(value):
            return None
        if name.lower() == "content-length" or is_hoppish(name):
            return None
        value = value.strip(" \t")
        line = f"{name}: {value}\r\n".encode("latin-1")
        _remember(self._response_fields, field, line, len(field[0]) + len(field[1]))
        return line

    def _base(self, server: Any, multithread: bool) -> dict[str, Any] | None:
        if isinstance(server, str):
            return None  # a unix socket, whose SERVER_NAME is each request's Host
        return {
            **base_environ(self._cfg),
            "wsgi.input": Input(),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": multithread,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": server[0],
            "SERVER_PORT": server[1],
            "SCRIPT_NAME": "",
            "launcher.worker_id": current_worker.id,
            "launcher.worker_slot": current_worker.slot,
        }


class _PlainResponse:
    """The WSGI side of one plain response, for as long as it is one."""

    __slots__ = (
        "_conn",
        "_data",
        "_given",
        "_head",
        "_hold",
        "_hot",
        "_pad",
        "closes",
        "length",
        "reference",
        "sent",
    )

    def __init__(
        self,
        hot: HotPath,
        data: bytes,
        conn: Connection,
        pad: Notepad,
        closes: bool,
        hold: bool,
    ) -> None:
        self._hot = hot
        self._data = data
        self._conn = conn
        self._pad = pad
        self._given: tuple[str, list[tuple[str, str]]] | None = None
        self._head = b""
        self.length = -1
        """Bytes of the body that would complete it; negative when it is not known or not
        plain, or sent."""
        self.closes = closes
        self._hold = hold
        self.sent = False
        """Whether the whole is sent, or held to be sent."""
        self.reference: Response | None = None
        """gunicorn's response, once this one has turned out not to be plain."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """As PEP 3333 says."""
        if exc_info is None and self._given is None and self.reference is None:
            plain = self._hot.response_head(status, headers)
            if plain:
                self._given = (status, headers)
                self._head, self.length = plain
                return self._write
        write: Callable[[bytes], None] = self.fall_back().start_response(status, headers, exc_info)
        return write

    def count(self, piece: bytes) -> None:
        """As `Response.count`."""
        if self.reference:
            self.reference.count(piece)
        elif self.length == _UNCOUNTED and self._given and type(piece) is bytes:
            self.length = len(piece)
            self._head += b"Content-Length: %d\r\n\r\n" % self.length
            status, headers = self._given
            self._given = status, [*headers, ("Content-Length", str(self.length))]

    def send(self, body: bytes) -> None:
        """Send the whole response, or hold it."""
        assert self._given
        if forked.in_child:
            forked.leave()
        if self._hot.closing.begun and self._hot.closing.ends(self._conn):
            self.closes = True
        first = self._hot.first_lines(self._given[0], self.closes)
        if len(body) > LARGE:
            self._send_large(first + self._head, body)
            return
        data = b"".join((first, self._head, body))
        if self._hold:
            self.sent = True
            self.length = -1
            self._conn.held = data
            return
        self._announce(len(data))
        if not self._conn.send(data):
            self._hot.unread.stay(self._conn, self._pad)

    def _send_large(self, head: bytes, body: bytes) -> None:
        """As `send`, in parts, and never held: what is held takes memory."""
        self._announce(len(head) + len(body))
        self._hot.unread.deliver(self._conn, self._pad, (head, body))

    def _announce(self, size: int) -> None:
        """As `Response._announce`: noted first, then looked."""
        self._pad.answer(size | (CLOSES if self.closes else 0))
        if self._conn.abandoned:
            raise Abandoned
        self.sent = True
        self.length = -1

    def fall_back(self) -> Response:
        """Go on with gunicorn's response; it also says what becomes of more than was announced."""
        if self.reference is None:
            self.length = -1
            self.reference = self._hot.reference(self._data, self._conn, self._pad, self.closes)
            if self._given:
                self.reference.start_response(*self._given)
            if self.sent:
                self.reference.mark_sent()
        return self.reference

    def ends_well(self) -> bool:
        """Whether the connection can have another request. The app is done."""
        reference = self.reference
        if reference is None:
            return not self.closes
        self._hot.check_length(reference)
        return not (self.closes or reference.should_close() or reference.short())

    def early_hints(self, headers: list[tuple[str, str]]) -> None:
        """``wsgi.early_hints``, as gunicorn has it."""
        early_hints(self.fall_back(), self._conn)(headers)

    def _write(self, data: bytes) -> None:
        self.fall_back().write(data)


def _send(pieces: Iterable[bytes], response: _PlainResponse) -> bool:
    """Send what the app gives; whether the connection can have another request."""
    if isinstance(pieces, FileWrapper):
        response.fall_back().write_file(pieces)
    else:
        number = number_of(pieces) if response.length < 0 else -1
        if number == 0:
            response.count(b"")
        for piece in pieces:
            if number == 1:
                response.count(piece)
            if type(piece) is bytes and len(piece) == response.length:
                response.send(piece)
            else:
                response.fall_back().write(piece)
    if response.length == 0:
        response.send(b"")
    if not response.sent:
        response.fall_back().close()
    return response.ends_well()


def _has_hooks(cfg: Any) -> bool:
    defaults = cfg.settings
    return any(
        defaults[name].get() is not defaults[name].default
        for name in ("pre_request", "post_request")
    )


def _remember(
    memory: dict[Any, Any], key: Any, value: Any, size: int, most: int = MOST_REMEMBERED
) -> None:
    if size > _LONGEST_REMEMBERED:
        return
    if len(memory) >= most:
        memory.clear()
    memory[key] = value
