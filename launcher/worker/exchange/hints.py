"""``wsgi.early_hints``: 103 responses before the final one (RFC 8297)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import _make_early_hints_callback

from launcher.worker import forked
from launcher.worker.connection.connection import Connection
from launcher.worker.exchange.response import Response, is_length


class _Sink:
    """Stands in for the socket that gunicorn writes to, so that `Connection.written` counts."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def sendall(self, data: bytes) -> None:
        """Send an interim response."""
        if forked.in_child:
            forked.leave()
        self._conn.send(data)


def early_hints(response: Response, conn: Connection) -> Callable[[Any], None]:
    """The callable by which an app sends 103 responses.

    They go out without fields that say where a body or the connection ends (RFC 9110
    section 8.6).
    """
    send: Callable[[Any], None] = _make_early_hints_callback(response.req, _Sink(conn), response)
    return lambda headers: send([field for field in headers if not _frames(field[0])])


def _frames(name: str | bytes) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return is_length(text) or bool(util.is_hoppish(text))
