"""What an app reads a request's body from (``wsgi.input``), the same on every path."""

from __future__ import annotations

import io
from typing import Any

_NOTHING = io.BytesIO()


class Input(io.BufferedIOBase):
    """gunicorn's body behind the whole interface of a file that is open for reading.

    PEP 3333 asks for ``read(size)``, ``readline(size)``, ``readlines(hint)`` and
    iteration; here every argument may also be left out, named, or None. The rest
    comes from `io`, so `io.TextIOWrapper` and its like take it too.
    """

    def __init__(self, body: Any = _NOTHING) -> None:
        """``body``: what gunicorn reads from, if there is one."""
        self._body = body

    def readable(self) -> bool:
        """True, as for every file that can be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """As the method of a file; all that is left when ``size`` is negative or None."""
        data: bytes = self._body.read(size)
        return data

    def read1(self, size: int | None = -1) -> bytes:
        """As `read`, but where the body is still coming, the bytes that are here are enough."""
        read1 = getattr(self._body, "read1", self._body.read)
        data: bytes = read1(-1 if size is None else size)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        """As the method of a file."""
        line: bytes = self._body.readline(size)
        return line

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """As the method of a file; ``hint`` bytes are about enough."""
        return super().readlines(-1 if hint is None else hint)

    def close(self) -> None:
        """Stay open: plain requests share one input, which no app may close for the others."""
