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
