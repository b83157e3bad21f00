"""What may go wrong with the body of a request, and what its client is answered then."""

from __future__ import annotations

from launcher import refusals


class BodyError(OSError):
    """Something is wrong with the body of a request, so that the app gets only a part.

    An OSError, because that is what frameworks expect of ``wsgi.input`` when the
    client is gone (gunicorn's NoMoreData is an OSError too). ``page`` is what the
    client is answered if no response has begun yet, whatever the app says.
    """

    page = b""
    """Empty: nothing is answered, because the client has left."""


class Gone(BodyError):
    """The client has left before the end of the body."""

    def __init__(self) -> None:
        super().__init__("the client has left in the middle of the request's body")


class TooSlow(BodyError):
    """The client sends its body too slowly, or nothing more of it."""

    page = refusals.REQUEST_TIMEOUT

    def __init__(self) -> None:
        super().__init__("the client takes too long to send the request's body")


class TooLarge(BodyError):
    """The body is larger than ``--limit-request-body``."""

    page = refusals.CONTENT_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes")


class NoRoom(BodyError):
    """The body cannot be kept until all of it is here: the disk, or the worker's share, is full."""

    page = refusals.NO_ROOM

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot keep the body of a request: {reason}")
