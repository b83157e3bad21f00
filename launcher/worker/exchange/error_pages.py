"""Whole responses that no app gives: gunicorn's error pages, and ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from gunicorn import util


class Captured:
    """Stands in for a socket where gunicorn writes an error page by itself."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        """Keep the page, or a part of it."""
        self.data += data

    def gettimeout(self) -> float:
        """As a socket that does not block."""
        return 0.0


def error_page(write: Callable[[Captured], None]) -> bytes:
    """What ``write`` sends to the socket that it is given."""
    page = Captured()
    with contextlib.suppress(OSError):
        write(page)
    return page.data


def dated(page: bytes) -> bytes:
    """A response with the Date that RFC 9110 section 6.6.1 asks for in every 4xx."""
    first, end, rest = page.partition(b"\r\n")
    return page and b"".join((first, end, f"Date: {util.http_date()}\r\n".encode(), rest))
