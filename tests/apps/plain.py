"""The smallest WSGI app, not Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = f"plain {environ['launcher.worker_id']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
