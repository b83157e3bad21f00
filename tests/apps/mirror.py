"""A WSGI app that answers with what it was asked, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

_TOLD = (
    "REQUEST_METHOD",
    "RAW_URI",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    seen = {key: environ[key] for key in environ if key in _TOLD or key.startswith("HTTP_")}
    seen["body"] = environ["wsgi.input"].read().decode("latin-1")
    answer = json.dumps(seen).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]
