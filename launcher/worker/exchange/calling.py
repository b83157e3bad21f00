"""Calls the app, the same way on every path (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from launcher.worker import forked

T = TypeVar("T")


def call(
    app: Callable[..., Any],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    send: Callable[[Any], T],
) -> T:
    """Call the app, have ``send`` send its pieces, close them; what ``send`` returns.

    A child process that the app has forked, and that comes back here, ends here.
    """
    try:
        pieces = app(environ, start_response)
        try:
            return send(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
    finally:
        if forked.in_child:
            forked.leave()
