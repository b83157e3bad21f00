"""Where a cluster listens: the forms of an address, and their one canonical text."""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal

from launcher.config.readers import whole

__all__ = ["BindAddress", "parse_bind", "read_bind", "url"]

UNIX_PATH_MAX = 107
"""Bytes of ``sun_path`` without its final NUL; see unix(7)."""


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where a listener listens: only the fields that belong to ``kind`` are set."""

    kind: Literal["tcp4", "tcp6", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        """The canonical text, which ``parse_bind`` reads back to an equal address."""
        match self.kind:
            case "tcp4":
                return f"{self.host}:{self.port}"
            case "tcp6":
                return f"[{self.host}]:{self.port}"
            case "unix":
                return f"unix:{self.path}"
        return f"fd://{self.fd}"


def parse_bind(text: str) -> BindAddress:
    """Read ``host:port``, ``[v6]:port``, ``:port``, ``port``, ``unix:path`` or ``fd://N``.

    ``:port`` is every IPv4 interface, a bare ``port`` only this machine. A host
    name means its IPv4 address. Port 0 lets the kernel choose.
    Raises ValueError with the rest of a sentence that starts with the text.
    """
    if text.startswith("unix:"):
        return _parse_unix(text)
    if text.startswith("fd://"):
        return _parse_fd(text)
    if text.startswith("["):
        return _parse_tcp6(text)
    return _parse_tcp4(text)


def _parse_unix(text: str) -> BindAddress:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path or "\0" in path:
        raise ValueError("names no path: write unix:/run/web.sock")
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise ValueError(f"is too long: a unix socket's path has at most {UNIX_PATH_MAX} bytes")
    return BindAddress("unix", path=path)


def _parse_fd(text: str) -> BindAddress:
    try:
        return BindAddress("fd", fd=whole(0, 1_048_575)(text.removeprefix("fd://")))
    except ValueError:
        raise ValueError("names no descriptor: write fd://3") from None


def _parse_tcp6(text: str) -> BindAddress:
    host, closed, port = text[1:].partition("]")
    if not closed or not port.startswith(":"):
        raise ValueError("has no port: write [::1]:3000")
    try:
        canonical = str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ValueError("has no IPv6 address between its brackets") from None
    return BindAddress("tcp6", host=canonical, port=_parse_port(port[1:]))


def _parse_tcp4(text: str) -> BindAddress:
    host, colon, port = text.rpartition(":")
    if not colon and not text.isdigit():
        raise ValueError(
            "has no port: write 127.0.0.1:3000, [::1]:3000, :3000, unix:/path or fd://3"
        )
    if ":" in host:
        raise ValueError("looks like IPv6: put it in brackets, [::1]:3000")
    return BindAddress("tcp4", host=_parse_host(host, bare=not colon), port=_parse_port(port))


def _parse_host(host: str, *, bare: bool) -> str:
    if not host:
        return "127.0.0.1" if bare else "0.0.0.0"  # noqa: S104 -- asked for with ":port"
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("has no valid IPv4 address before its port") from None
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", host):
        raise ValueError("has no valid host before its port")
    return host.lower()


def _parse_port(text: str) -> int:
    try:
        return whole(0, 65_535)(text)
    except ValueError as error:
        raise ValueError(f"has a port that {error}") from None


def url(address: str) -> str:
    """What to type into a browser or curl for an address as users write it."""
    return address if address.startswith("unix:") else f"http://{address}"


def read_bind(text: str) -> str:
    """One address in its canonical text."""
    return str(parse_bind(text))
