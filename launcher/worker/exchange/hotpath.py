"""The plain request: parsed and answered with everything that can be prepared once prepared.

Most requests are plain: a complete head, no body, and nothing that needs a decision. The
rest, and every plain request that turns out not to be one (a streamed response, an error),
takes gunicorn's own parser and response in ``parsing.py`` and ``response.py``: nothing here
decides otherwise than they do, and ``tests/http/test_hotpath.py`` compares the two.

What makes it fast is that clients repeat themselves. The lines of a head
(``plain_request.py``), the fields of a response and its first lines (``plain_response.py``)
are each looked at once and remembered as what they come to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.workers.base import Worker as GunicornWorker

from launcher.ipc.notes import Notepad
from launcher.policy.serving.waiting import Forecast
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.phase import Broken
from launcher.worker.exchange.calling import call
from launcher.worker.exchange.exchange import Exchange
from launcher.worker.exchange.plain_request import PlainHead, PlainHeads
from launcher.worker.exchange.plain_response import PlainResponse, ResponseHeads


class HotPath:
    """What a worker has prepared for plain requests."""

    def __init__(
        self, worker: GunicornWorker, exchange: Exchange, multithread: bool, forecast: Forecast
    ) -> None:
        self._exchange = exchange
        self._app: Callable[..., Iterable[bytes]] = worker.wsgi
        heads = PlainHeads(worker.cfg, exchange.servers, multithread, forecast)
        self.head_of = heads.head_of
        self._heads = ResponseHeads()

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

        ``now``: monotonic nanoseconds. ``last``: the connection ends with this response
        whatever the client asks. ``hold``: a plain response is not sent but left in ``conn.held``.
        Raises Broken when the client is gone.
        """
        conn.requests += 1
        heads = self._heads
        if now >= heads.dated_until:
            heads.date(now)
        response = PlainResponse(heads, self._exchange, data, conn, pad, last or head.closes, hold)
        environ = head.environ.copy()
        client = conn.client
        environ["REMOTE_ADDR"] = client.host
        environ["REMOTE_PORT"] = client.port_text
        environ["gunicorn.socket"] = conn.sock
        environ["wsgi.early_hints"] = response.early_hints
        try:
            return call(self._app, environ, response.start_response, response.give)
        except Broken:
            raise
        except StopIteration:
            return False  # the app says so that it has used the socket itself
        except BaseException as error:  # asyncio's CancelledError is no Exception
            request = self._exchange.request_of(data, conn)
            begun = response.fall_back() if response.sent else response.reference
            return self._exchange.failed(conn, request, begun, error)


def _has_hooks(cfg: Any) -> bool:
    defaults = cfg.settings
    return any(
        defaults[name].get() is not defaults[name].default
        for name in ("pre_request", "post_request")
    )
