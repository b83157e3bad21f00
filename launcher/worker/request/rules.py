"""Where a request has to be stricter than gunicorn's parser is (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re
from typing import Any

from gunicorn.http.errors import InvalidHeader, InvalidRequestLine, InvalidRequestMethod
from gunicorn.http.message import TOKEN_RE

HOST_RE = re.compile(
    r"(?:\[[0-9A-Za-z:.\-_~!$&'()*+,;=]+\]|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    r"(?::[0-9]*)?"
)
"""The value of Host: RFC 9110 section 7.2, but never empty, because no http or https
URI has an empty host (section 4.2)."""


def check(request: Any) -> None:
    """Refuse what gunicorn's parser lets pass and RFC 9112 does not. Raises gunicorn's errors.

    Where the target has absolute form, its host replaces the field Host (section 3.2.2).
    """
    if request.method == "CONNECT":
        # RFC 9110 section 9.3.6: the client asks for a tunnel, which no WSGI app can be.
        raise InvalidRequestMethod(request.method)
    host = next((value for name, value in request.headers if name == "HOST"), None)
    if host is None:
        if request.version >= (1, 1):
            raise InvalidHeader("HOST", req=request)
    elif not HOST_RE.fullmatch(host):  # section 3.2; gunicorn refuses a second Host itself
        raise InvalidHeader("HOST", req=request)
    if "://" in request.uri and not request.uri.startswith("/"):
        _take_host_of_target(request)
    if _asks_to_close(request):
        request.force_close()


def _take_host_of_target(request: Any) -> None:
    authority = re.split("[/?#]", request.uri.partition("://")[2], maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if not HOST_RE.fullmatch(host):
        raise InvalidRequestLine(request.uri)
    others = [field for field in request.headers if field[0] != "HOST"]
    request.headers = [("HOST", host), *others]


def _asks_to_close(request: Any) -> bool:
    """Whether ``close`` is among the connection options (section 9.6); gunicorn reads one."""
    return any(
        option.strip(" \t").lower() == "close"
        for name, value in request.headers
        if name == "CONNECTION"
        for option in value.split(",")
    )


def is_list_of_tokens(value: str) -> bool:
    """Whether ``value`` names transfer codings, known or not (RFC 9112 section 7)."""
    return all(TOKEN_RE.fullmatch(member.strip(" \t")) for member in value.split(","))
