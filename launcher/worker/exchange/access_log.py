"""The access log: one line for each request, and nothing in it that could be taken for two.

Text is Apache's combined format with the worker and the request time behind
it; JSON has the same as an object. Both hold what the client sent as it sent
it, percent-encoded, with everything that could steer a terminal escaped:
people ``tail`` these files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from launcher import current_worker
from launcher.logs.cleaning import harmless_json, quotable
from launcher.pool.logger import Logger
from launcher.worker.connection.connection import Connection
from launcher.worker.exchange.response import Response

_GATEWAY_TIMEOUT = 504


@dataclass(frozen=True, slots=True)
class Served:
    """One request, as far as the log tells of it. Empty or None: not known."""

    remote: str
    user: str
    method: str
    target: str
    """Path and query, as they were sent."""
    version: str
    status: int | None
    sent: int
    """Bytes of the response's body."""
    duration: float
    """Seconds."""
    referer: str
    agent: str


class AccessLog:
    """Writes a line when a request is over."""

    def __init__(self, log: Logger, layout: str) -> None:
        """``layout``: text or json."""
        self._log = log
        self._own_format = log.has_format_of_its_own and layout == "text"
        self._line: Callable[[Served], str] = _json if layout == "json" else _text

    def answered(
        self, conn: Connection, response: Response, environ: dict[str, Any], started: float
    ) -> None:
        """The app has given this response, or a part of it. ``started``: monotonic seconds."""
        if conn.abandoned:
            return  # `timed_out` has written its line
        duration = time.monotonic() - started
        if self._own_format:
            elapsed = timedelta(seconds=duration)
            self._log.access(response, response.req, environ, elapsed)
            return
        status = int(response.status[:3]) if response.status else None
        self._write(conn, response.req, status, response.sent, duration)

    def refused(self, conn: Connection, request: Any, page: bytes, started: float) -> None:
        """This error page was sent. ``request``: None when what came was none."""
        if self._own_format or not page:
            return  # gunicorn writes a line about each of its pages
        size = len(page) - page.find(b"\r\n\r\n") - 4
        duration = time.monotonic() - started if started else 0.0
        self._write(conn, request, int(page[9:12]), size, duration)

    def timed_out(self, conn: Connection, method: str, target: str, duration: float) -> None:
        """The client was told that it took too long."""
        self._put(
            Served(conn.client.host, "", method, target, "", _GATEWAY_TIMEOUT, 0, duration, "", "")
        )

    def _write(
        self, conn: Connection, request: Any, status: int | None, sent: int, duration: float
    ) -> None:
        if request is None:
            self._put(Served(conn.client.host, "", "", "", "", status, sent, duration, "", ""))
            return
        fields = dict(reversed(request.headers))  # the first of two with one name wins
        user = self._log._get_user({"HTTP_AUTHORIZATION": fields.get("AUTHORIZATION")})
        version = ".".join(map(str, request.version))
        agent, referer = fields.get("USER-AGENT", ""), fields.get("REFERER", "")
        self._put(
            Served(
                conn.client.host,
                user or "",
                request.method,
                request.uri,
                f"HTTP/{version}",
                status,
                sent,
                duration,
                _text_of(referer),
                _text_of(agent),
            )
        )

    def _put(self, served: Served) -> None:
        self._log.access_log.info("%s", self._line(served))


def access_log(log: Logger, layout: str) -> AccessLog | None:
    """The access log, where one is wanted."""
    return AccessLog(log, layout) if log.access_log_enabled else None


def _text(served: Served) -> str:
    """Apache's combined format, and which worker served the request in how long."""
    line = " ".join(filter(None, (served.method, served.target, served.version))) or "-"
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z")
    return (
        f"{served.remote or '-'} - {_word(served.user)} [{stamp}]"
        f' "{quotable(_text_of(line))}" {served.status or "-"} {served.sent}'
        f' "{quotable(served.referer) or "-"}" "{quotable(served.agent) or "-"}"'
        f" worker={current_worker.id} slot={current_worker.slot} time={served.duration:.6f}"
    )


def _json(served: Served) -> str:
    """One object."""
    path, _, query = served.target.partition("?")
    values = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "worker_id": current_worker.id,
        "slot": current_worker.slot,
        "remote": served.remote,
        "user": served.user or None,
        "method": served.method or None,
        "path": _text_of(path) or None,
        "query": _text_of(query),
        "status": served.status,
        "bytes": served.sent,
        "duration": round(served.duration, 6),
        "referer": served.referer or None,
        "user_agent": served.agent or None,
    }
    return harmless_json(values, separators=(",", ":"))


def _word(text: str) -> str:
    """A value as it can stand between blanks."""
    return quotable(text).replace(" ", "\\x20") or "-"


def _text_of(value: str) -> str:
    """Text that was sent as UTF-8 and came here as Latin-1 (PEP 3333)."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
