"""What a proxy says first on a connection, about the client behind it: the PROXY protocol.

As "The PROXY protocol, versions 1 & 2" has it (doc/proxy-protocol.txt of HAProxy). Where
the setting ``proxy_protocol`` says so, every connection has to begin with such a header,
because a receiver "MUST not try to guess whether the PROXY protocol header is present or not"
(section 2). The header holds for the connection, so for all of its requests, in
whichever worker; gunicorn's own reader tells the first request alone, and stumbles over
headers that say nothing of a client.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from gunicorn.config import Config
from gunicorn.http.errors import ForbiddenProxyRequest, InvalidProxyLine, NoMoreData

from launcher.worker.request.parsing import Arrived, NeedMore
from launcher.worker.request.parsing import parse as parse_request

UNKNOWN = "UNKNOWN"
"""The text of a header that says nothing of a client: the peer itself is the client."""

_V1 = b"PROXY "
_LONGEST_V1 = 107
"""Section 2.1: the longest header of version 1, with its CRLF."""
_TCP = re.compile(r"(TCP[46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})", re.ASCII)
_FAMILIES = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_V2 = 16
_VERSION_2 = 2
_LOCAL, _PROXY = 0, 1
_ADDRESSES = {0x11: ("TCP4", 4), 0x21: ("TCP6", 16)}
"""Section 2.2: by family and protocol: as version 1 has it, and the bytes of an address."""
_NO_CLIENT = frozenset({0x00, 0x31})
"""Unspecified, and a unix socket: the client has no address that an app could use."""


def parse(
    data: bytes, complete: bool, cfg: Config, peer: Any, number: int, proxied: str
) -> Arrived:
    """As `parsing.parse`, behind a header of a proxy.

    ``proxied``: the text of the header, if one was read on this connection already.

    Raises gunicorn's errors besides: InvalidProxyLine, ForbiddenProxyRequest.
    """
    if cfg.proxy_protocol == "off":
        return parse_request(data, complete, cfg, peer, number)
    size = 0
    if not proxied:
        proxied, size = _read(data, complete, cfg, peer)
        data = data[size:]
    number += 1  # gunicorn itself looks for a header before request 1
    arrived = parse_request(data, complete, cfg, peer, number)
    arrived.head += size
    arrived.proxied = proxied
    arrived.request.proxy_protocol_info = details(proxied)
    return arrived


def details(text: str) -> dict[str, Any] | None:
    """What gunicorn keeps of a header with this text; None when it says nothing of a client."""
    if text in ("", UNKNOWN):
        return None
    protocol, client, proxy, client_port, proxy_port = text.split(" ")
    return {
        "proxy_protocol": protocol,
        "client_addr": client,
        "client_port": int(client_port),
        "proxy_addr": proxy,
        "proxy_port": int(proxy_port),
    }


def client(text: str) -> tuple[str, int] | None:
    """The client's address in a header with this text."""
    known = details(text)
    return (known["client_addr"], known["client_port"]) if known else None


def read(data: bytes, mode: str) -> tuple[str, int]:
    """The text of the header that ``data`` begins with, as version 1 would have it, and its size.

    ``mode``: ``v1``, ``v2`` or ``auto``. Raises NeedMore and InvalidProxyLine.
    """
    if mode != "v2" and data[: len(_V1)] == _V1[: len(data)]:
        return _read_v1(data)
    if mode != "v1" and data[: len(_V2)] == _V2[: len(data)]:
        return _read_v2(data)
    raise InvalidProxyLine(f"{_shown(data)}, where a header has to be")


def _read(data: bytes, complete: bool, cfg: Config, peer: Any) -> tuple[str, int]:
    if not data and complete:
        raise StopIteration
    try:
        text, size = read(data, cfg.proxy_protocol)
    except NeedMore:
        if complete:
            raise NoMoreData(data) from None
        raise
    if not _may_say_so(peer, cfg):
        raise ForbiddenProxyRequest(peer[0])
    return text, size


def _may_say_so(peer: Any, cfg: Config) -> bool:
    if not isinstance(peer, tuple) or "*" in cfg.proxy_allow_ips:
        return True
    address = ipaddress.ip_address(peer[0])
    return any(address in network for network in cfg.proxy_allow_networks())


def _read_v1(data: bytes) -> tuple[str, int]:
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1 or b"\n" in data:
            raise InvalidProxyLine(_shown(data))
        raise NeedMore
    text = data[len(_V1) : end].decode("latin-1")
    if text == UNKNOWN or text.startswith(f"{UNKNOWN} "):
        return UNKNOWN, end + 2  # "the receiver must ignore anything presented before the CRLF"
    match = _TCP.fullmatch(text)
    if not match or not _are_good(match):
        raise InvalidProxyLine(_shown(data))
    return text, end + 2


def _are_good(match: re.Match[str]) -> bool:
    protocol, client, proxy, *ports = match.groups()
    try:
        for address in (client, proxy):
            socket.inet_pton(_FAMILIES[protocol], address)
    except OSError:
        return False
    return all(int(port) <= 0xFFFF for port in ports)


def _read_v2(data: bytes) -> tuple[str, int]:
    if len(data) < _FIXED_V2:
        raise NeedMore
    version, command = divmod(data[12], 16)
    if version != _VERSION_2 or command not in (_LOCAL, _PROXY):
        raise InvalidProxyLine(_shown(data))
    family, length = data[13], int.from_bytes(data[14:16], "big")
    protocol, size = _ADDRESSES.get(family, (UNKNOWN, 0))
    if command == _LOCAL:
        protocol = UNKNOWN
    elif (protocol == UNKNOWN and family not in _NO_CLIENT) or length < 2 * size + 4 * bool(size):
        raise InvalidProxyLine(_shown(data))
    end = _FIXED_V2 + length
    if len(data) < end:
        raise NeedMore
    return (UNKNOWN if protocol == UNKNOWN else _as_v1(protocol, data[16:end], size)), end


def _as_v1(protocol: str, block: bytes, size: int) -> str:
    client, proxy = (
        socket.inet_ntop(_FAMILIES[protocol], block[start : start + size]) for start in (0, size)
    )
    ports = (int.from_bytes(block[at : at + 2], "big") for at in (2 * size, 2 * size + 2))
    return " ".join([protocol, client, proxy, *map(str, ports)])


def _shown(data: bytes) -> str:
    return data[:60].decode("latin-1")
