"""The responses that the launcher itself gives, when the app cannot: complete and final."""

from __future__ import annotations


def _response(status: str, text: str, *extra: str) -> bytes:
    body = text + "\n"
    fields = (
        f"HTTP/1.1 {status}",
        *extra,
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


BAD_GATEWAY = _response(
    "502 Bad Gateway", "The worker that ran this request died before it had answered."
)
UNAVAILABLE = _response(
    "503 Service Unavailable", "No worker could take this request in time.", "Retry-After: 5"
)
GATEWAY_TIMEOUT = _response("504 Gateway Timeout", "The request took too long and was ended.")
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONTENT_TOO_LARGE = _response("413 Content Too Large", "The body of this request is too large.")
NO_ROOM = _response(
    "503 Service Unavailable",
    "There is no room now for the body of this request.",
    "Retry-After: 5",
)


def status_of(response: bytes) -> int:
    """The status of a response (RFC 9112 section 4)."""
    return int(response[9:12])
