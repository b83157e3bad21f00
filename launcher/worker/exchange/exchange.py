"""One request and its response: runs the app."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from gunicorn.config import Config
from gunicorn.http.wsgi import create
from gunicorn.workers.base import Worker as GunicornWorker

from launcher import current_worker
from launcher.config.settings import Settings
from launcher.ipc.notes import Notepad
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.phase import Broken
from launcher.worker.connection.unread import Unread
from launcher.worker.exchange.access_log import access_log
from launcher.worker.exchange.calling import call
from launcher.worker.exchange.closing import Closing
from launcher.worker.exchange.error_pages import dated, error_page
from launcher.worker.exchange.hints import early_hints
from launcher.worker.exchange.input import Input
from launcher.worker.exchange.response import Abandoned, Response
from launcher.worker.request.body_errors import BodyError
from launcher.worker.request.parsing import Arrived, parse

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1."""


class Exchange:
    """Runs requests through the app the way gunicorn's workers do."""

    def __init__(
        self,
        worker: GunicornWorker,
        settings: Settings,
        addresses: list[str],
        closing: Closing,
        unread: Unread,
    ) -> None:
        self._worker = worker
        self.closing = closing
        self.unread = unread
        self._cfg: Config = worker.cfg
        self.servers = [_server_name(address) for address in addresses]
        self._multithread = settings.threads_max > 1
        self._pre_request = self._cfg.pre_request
        self._post_request = self._cfg.post_request
        self._keepalive = bool(settings.keepalive)
        self._access = access_log(worker.log, settings.log_format)

    def run(self, conn: Connection, arrived: Arrived, pad: Notepad) -> bool:
        """Answer a request. Whether the connection can have another after it.

        Raises Broken when the client is gone.
        """
        request = arrived.request
        conn.requests += 1
        started = time.monotonic() if self._access else 0.0
        response = None
        answered = False
        environ: dict[str, Any] = {}
        try:
            self._pre_request(self._worker, request)
            response, environ = self._prepare(conn, request, pad)
            if not self._keepalive:
                response.force_close()
            answered = True
            call(
                self._worker.wsgi,
                environ,
                response.start_response,
                partial(_send, response, environ),
            )
        except Broken:
            raise
        except StopIteration:
            return False  # the app says so that it has used the socket itself (Flask-Sock)
        except BaseException as error:  # asyncio's CancelledError is no Exception
            answered = response is not None and response.begun
            return self.failed(conn, request, response, error, started)
        finally:
            if self._access and answered and response is not None:
                self._access.answered(conn, response, environ, started)
            self._after(request, environ, response)
        self.check_length(request, response)
        return not response.should_close() and not response.short()

    def refuse(
        self, conn: Connection, request: Any, error: BaseException, started: float = 0.0
    ) -> None:
        """Answer with gunicorn's error page: what came is no request, or the app failed on it."""
        peer = conn.client.peer
        worker = self._worker
        if isinstance(error, BodyError):
            page = dated(error.page)
        else:
            page = dated(error_page(lambda sock: worker.handle_error(request, sock, peer, error)))
        if page and request is not None and request.method == "HEAD":
            page = page[: page.index(b"\r\n\r\n") + 4]
        if conn.abandoned:
            raise Abandoned
        if self._access:
            self._access.refused(conn, request, page, started)
        conn.send(page)

    def check_length(self, request: Any, response: Response) -> None:
        """Tell of an app that sent more or less than it had announced, as PEP 3333 asks."""
        if complaint := response.complaint():
            self._worker.log.warning("%s %s: %s", request.method, request.uri, complaint)

    def timed_out(self, conn: Connection, method: str, path: str, seconds: float) -> None:
        """The client of a request that still runs was told that it took too long."""
        if self._access:
            self._access.timed_out(conn, method, path, seconds)

    def request_of(self, data: bytes, conn: Connection) -> Any:
        """gunicorn's request for a head that is known to be complete and right."""
        return parse(data, True, self._cfg, conn.client.peer, conn.requests + 1).request

    def response(self, request: Any, conn: Connection, pad: Notepad) -> Response:
        """What answers ``request``."""
        return Response(request, conn, self._cfg, pad, self.closing, self.unread)

    def reference(self, data: bytes, conn: Connection, pad: Notepad, closes: bool) -> Response:
        """What answers the plain request in ``data`` when its response is not plain."""
        response = self.response(self.request_of(data, conn), conn, pad)
        if closes:
            response.force_close()
        return response

    def _prepare(self, conn: Connection, request: Any, pad: Notepad) -> tuple[Response, Any]:
        # The launcher sends 100 Continue itself; gunicorn would send it at once, or once more.
        request._expected_100_continue = False
        client = conn.client
        address: Any = (client.host, client.port) if client.host else ""
        response, environ = create(
            request,
            conn.sock,
            address,
            self.servers[conn.listener],
            self._cfg,
            response_class=lambda request, _sock, _cfg: self.response(request, conn, pad),
        )
        environ["wsgi.input"] = Input(request.body)
        environ["wsgi.early_hints"] = early_hints(response, conn)
        environ["gunicorn.socket"] = conn.lent or conn.sock
        environ["wsgi.multithread"] = self._multithread
        environ["launcher.worker_id"] = current_worker.id
        environ["launcher.worker_slot"] = current_worker.slot
        return response, environ

    def failed(
        self,
        conn: Connection,
        request: Any,
        response: Response | None,
        error: BaseException,
        started: float = 0.0,
    ) -> bool:
        """Answer a request that the app failed on, if nothing is sent; its connection ends then.

        Raises Broken when a part of the response is out: it must not look like the whole.
        """
        if conn.incoming and conn.incoming.failure:
            error = conn.incoming.failure  # the app may have raised another because of this one
        if response is None or not response.begun:
            self.refuse(conn, request, error, started)
            return False
        if not isinstance(error, BodyError):
            self._worker.log.exception("Error handling request %s", request.uri)
        if response.complete:
            return False
        raise Broken("the app failed in the middle of its response") from error

    def _after(self, request: Any, environ: dict[str, Any], response: Response | None) -> None:
        try:
            self._post_request(self._worker, request, environ, response)
        except Exception:
            self._worker.log.exception("Exception in post_request hook")


def _send(response: Response, environ: dict[str, Any], pieces: Any) -> None:
    if isinstance(pieces, environ["wsgi.file_wrapper"]):
        response.write_file(pieces)
    else:
        response.write_pieces(pieces)
    response.close()


def is_safe(arrived: Arrived) -> bool:
    """Whether the request may be run again: a safe method and no body."""
    return arrived.request.method in SAFE_METHODS and arrived.length == 0


def _server_name(address: str) -> Any:
    """What gunicorn's `create` takes for a listener: (host, port), or a path."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
