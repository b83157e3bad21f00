"""The reference app and routes that wait and compute, which the reference app does not."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response

from app import create_app as create_reference_app
from benchmarks.servers.work import compute

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TEXT = "text/plain; charset=utf-8"

_PR_SET_TIMERSLACK = 29
_libc = ctypes.PyDLL(None)
"""PyDLL keeps the interpreter during a call: giving it up would be a wait of its own."""


def create_app() -> Flask:
    """The reference app with routes that wait, as for a database, and that compute."""
    app = create_reference_app()
    app.add_url_rule("/wait/<int:milliseconds>", view_func=wait)
    app.add_url_rule("/compute/<int:turns>", view_func=compute_and_answer)
    app.add_url_rule("/think/<int:turns>/wait/<int:microseconds>", view_func=think_and_wait)
    return app


def wait(milliseconds: int) -> Response:
    """servers/express.js has the same."""
    time.sleep(milliseconds / 1000)
    return Response("waited", content_type=TEXT)


def compute_and_answer(turns: int) -> Response:
    return Response(f"computed {compute(turns)}", content_type=TEXT)


def think_and_wait(turns: int, microseconds: int) -> Response:
    """A wait that is too short for the kernel's usual slack of 50 µs (prctl(2))."""
    compute(turns)
    _libc.prctl(_PR_SET_TIMERSLACK, 1)
    time.sleep(microseconds / 1e6)
    _libc.prctl(_PR_SET_TIMERSLACK, 0)  # the thread's own slack again: the server waits too
    return Response("waited", content_type=TEXT)


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001
    """As little app as there can be, so that the workers leave the CPU to the primary."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
