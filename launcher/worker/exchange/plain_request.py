"""What the head of a plain request comes to.

A plain request has a complete head, no body, and nothing in it that needs a decision
(`_WITH_POLICY`). Each line of a head is looked at once, checked with gunicorn's own rules,
and remembered as what it comes to.
"""

from __future__ import annotations

import re
from typing import Any

from gunicorn.config import Config
from gunicorn.http.message import RFC9110_5_5_INVALID_AND_DANGEROUS as CONTROL_RE
from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import base_environ
from gunicorn.util import unquote_to_wsgi_str

from launcher import current_worker
from launcher.policy.serving.waiting import Forecast, Route
from launcher.worker.exchange.exchange import SAFE_METHODS
from launcher.worker.exchange.input import Input
from launcher.worker.exchange.remembered import Remembered
from launcher.worker.request.rules import HOST_RE

MOST_HEADS = 256
"""Whole heads that are remembered per listener: a client that keeps its connection
asks for the same again and again."""

# Origin-form only, and no fragment: all else is left to gunicorn's parser.
_REQUEST_LINE = re.compile(
    rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}) (/(?!/)[!\"$-~]*) HTTP/1\.1", re.DOTALL
)

_WITH_POLICY = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})
"""A request with such a field takes the reference path; so does one with an underscore in a
name, or with a field to which the configuration gives a meaning (``secure_scheme_headers``)."""

_NO_BODY_METHODS = frozenset({"HEAD", "CONNECT"})


class PlainHead:
    """What the head of a plain request comes to."""

    __slots__ = ("closes", "environ", "method", "path", "route", "safe")

    def __init__(self, environ: dict[str, Any], route: Route) -> None:
        self.environ = environ
        """What every request with this head has in common; the rest depends on the connection."""
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ["PATH_INFO"]
        self.safe = self.method in SAFE_METHODS
        self.closes = environ.get("HTTP_CONNECTION", "").lower() == "close"
        self.route = route


class PlainHeads:
    """The heads of plain requests, of one worker. For all of its threads."""

    def __init__(
        self, cfg: Config, servers: list[Any], multithread: bool, forecast: Forecast
    ) -> None:
        """``servers``: by listener, what gunicorn's `create` takes for one."""
        self._cfg = cfg
        self._forecast = forecast
        self._bases = [self._base(server, multithread) for server in servers]
        self._heads: list[Remembered[bytes, PlainHead]] = [Remembered(MOST_HEADS) for _ in servers]
        self._request_lines: Remembered[bytes, dict[str, str]] = Remembered()
        self._fields: Remembered[bytes, tuple[str, Any]] = Remembered()
        self._policy = _WITH_POLICY | cfg.secure_scheme_headers.keys()
        self._most_fields = cfg.limit_request_fields
        self._longest_line = cfg.limit_request_line
        self._longest_field = cfg.limit_request_field_size

    def head_of(self, data: bytes, listener: int) -> PlainHead | None:
        """The head in ``data``; None when that is not a plain request."""
        return self._heads[listener].get(data) or self._read_head(data, listener)

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
        self._heads[listener].put(data, head, len(data))
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
        self._request_lines.put(line, read, len(line))
        return read

    def _read_field(self, line: bytes) -> tuple[str, str] | None:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not TOKEN_RE.fullmatch(name) or "_" in name:
            return None
        name = name.upper()
        value = value.strip(" \t")
        if name == "CONNECTION" and "," in value:
            return None  # one of the options may be "close"
        too_long = len(line) + 2 > self._longest_field > 0
        if too_long or name in self._policy or CONTROL_RE.search(value):
            return None
        if name == "HOST" and not HOST_RE.fullmatch(value):
            return None
        key = "CONTENT_TYPE" if name == "CONTENT-TYPE" else "HTTP_" + name.replace("-", "_")
        self._fields.put(line, (key, value), len(line))
        return key, value

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
