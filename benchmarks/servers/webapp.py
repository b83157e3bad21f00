"""The reference app and two routes more, for what the reference app cannot show."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response

from app import create_app as create_reference_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PAUSE = 0.05
"""Seconds the slow route takes; servers/express.js has the same."""


def create_app() -> Flask:
    """The reference app with a route that waits, as for a database."""
    app = create_reference_app()
    app.add_url_rule("/slow", view_func=slow)
    return app


def slow() -> Response:
    time.sleep(PAUSE)
    return Response("slept", content_type="text/plain; charset=utf-8")


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001
    """As little app as there can be, so that the workers leave the CPU to the primary."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
