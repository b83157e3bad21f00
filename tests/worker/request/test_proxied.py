"""What a proxy says first on a connection: every form of it, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import (
    ForbiddenProxyRequest,
    InvalidProxyLine,
    NoMoreData,
    ParseException,
)

from launcher.worker.request.parsing import Arrived, NeedMore
from launcher.worker.request.proxied import UNKNOWN, client, details, parse, read

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
PEER = ("127.0.0.1", 1234)


def v2(command: int, family: int, block: bytes, version: int = 2) -> bytes:
    fixed = bytes([version << 4 | command, family]) + len(block).to_bytes(2, "big")
    return b"\r\n\r\n\0\r\nQUIT\n" + fixed + block


PORTS = b"\x00\x50\x1f\x90"
TCP4 = bytes([9, 9, 9, 9, 1, 1, 1, 1]) + PORTS
TCP6 = bytes(15) + b"\1" + bytes(15) + b"\2" + PORTS
TLV = b"\x04\x00\x01x"

GOOD = {
    b"PROXY TCP4 9.9.9.9 1.1.1.1 80 8080\r\n": "TCP4 9.9.9.9 1.1.1.1 80 8080",
    b"PROXY TCP6 ::1 ::2 80 8080\r\n": "TCP6 ::1 ::2 80 8080",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 0 65535\r\n": "TCP4 9.9.9.9 1.1.1.1 0 65535",
    b"PROXY UNKNOWN\r\n": UNKNOWN,
    b"PROXY UNKNOWN ::1 what ever\r\n": UNKNOWN,
    b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n": "",
    v2(1, 0x11, TCP4): "TCP4 9.9.9.9 1.1.1.1 80 8080",
    v2(1, 0x21, TCP6): "TCP6 ::1 ::2 80 8080",
    v2(1, 0x11, TCP4 + TLV): "TCP4 9.9.9.9 1.1.1.1 80 8080",
    v2(0, 0, b""): UNKNOWN,
    v2(0, 0x11, TCP4): UNKNOWN,
    v2(0, 0x99, b"whatever"): UNKNOWN,
    v2(1, 0, TLV): UNKNOWN,
    v2(1, 0x31, bytes(216)): UNKNOWN,
}

BAD = [
    REQUEST,
    b"x",
    b"PROXX",
    b"proxy TCP4 9.9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY \r\n",
    b"PROXY TCP5 9.9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP4 ::1 ::2 80 8080\r\n",
    b"PROXY TCP6 9.9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY TCP4 9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY TCP4 09.9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY TCP6 fe80::1%lo ::2 80 8080\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 80 65536\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 080 8080\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 8_0 8080\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 +80 8080\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 \xb2 8080\r\n",
    b"PROXY TCP4  9.9.9.9 1.1.1.1 80 8080\r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 80 8080 \r\n",
    b"PROXY TCP4 9.9.9.9 1.1.1.1 80 8080\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    v2(1, 0x11, TCP4, version=1),
    v2(2, 0x11, TCP4),
    v2(1, 0x12, TCP4),
    v2(1, 0x10, TCP4),
    v2(1, 0x32, bytes(216)),
    v2(1, 0x41, TCP4),
    v2(1, 0x11, TCP4[:-1]),
    v2(1, 0x21, TCP6[:-1]),
]


@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_read_once_it_is_there(header: bytes) -> None:
    text = GOOD[header] or header[6:-2].decode()
    for end in range(1, len(header)):
        with pytest.raises(NeedMore):
            read(header[:end], "auto")
    assert read(header, "auto") == (text, len(header))
    assert read(header + REQUEST, "auto") == (text, len(header))


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_refused_without_waiting_for_more(data: bytes) -> None:
    with pytest.raises(InvalidProxyLine):
        read(data, "auto")


@pytest.mark.parametrize("mode", ["v1", "v2"])
def test_of_one_version_no_other_is_taken(mode: str) -> None:
    headers = {"v1": b"PROXY UNKNOWN\r\n", "v2": v2(0, 0, b"")}
    assert read(headers.pop(mode), mode)[0] == UNKNOWN
    (other,) = headers.values()
    with pytest.raises(InvalidProxyLine):
        read(other, mode)


def test_whom_it_tells_of() -> None:
    assert client("TCP4 9.9.9.9 1.1.1.1 80 8080") == ("9.9.9.9", 80)
    assert client(UNKNOWN) is None
    assert client("") is None
    known = details("TCP6 ::1 ::2 80 8080") or {}
    assert [*known.values()] == ["TCP6", "::1", 80, "::2", 8080]


def parsed(
    data: bytes, proxied: str = "", peer: Any = PEER, complete: bool = False, **settings: Any
) -> Arrived:
    cfg: Any = Config()  # type: ignore[no-untyped-call]
    for name, value in {"proxy_protocol": True, **settings}.items():
        cfg.set(name, value)
    return parse(data, complete, cfg, peer, 1, proxied)


def test_the_request_behind_a_header() -> None:
    header = b"PROXY TCP4 9.9.9.9 1.1.1.1 80 8080\r\n"
    arrived = parsed(header + REQUEST + REQUEST)
    assert arrived.head == len(header) + len(REQUEST)
    assert arrived.proxied == header[6:-2].decode()
    assert arrived.request.proxy_protocol_info["client_addr"] == "9.9.9.9"
    assert arrived.request.peer_addr == PEER, "who is believed is decided by that"


def test_what_was_read_before_holds_and_is_not_read_again() -> None:
    text = "TCP4 9.9.9.9 1.1.1.1 80 8080"
    assert parsed(REQUEST, text).request.proxy_protocol_info["client_addr"] == "9.9.9.9"
    assert parsed(REQUEST, UNKNOWN).request.proxy_protocol_info is None
    with pytest.raises(ParseException):
        parsed(b"PROXY TCP4 8.8.8.8 1.1.1.1 80 8080\r\n" + REQUEST, text)


def test_without_the_setting_there_is_no_header() -> None:
    assert parsed(REQUEST, proxy_protocol=False).proxied == ""


def test_who_may_say_so() -> None:
    data = b"PROXY UNKNOWN\r\n" + REQUEST
    with pytest.raises(ForbiddenProxyRequest):
        parsed(data, peer=("192.0.2.1", 5))
    assert parsed(data, peer=("192.0.2.1", 5), proxy_allow_ips="192.0.2.0/24").proxied
    assert parsed(data, peer=("192.0.2.1", 5), proxy_allow_ips="*").proxied
    assert parsed(data, peer="").proxied, "a unix socket"


def test_a_client_that_leaves_in_the_middle_of_it() -> None:
    with pytest.raises(NoMoreData):
        parsed(b"PROXY UNK", complete=True)
    with pytest.raises(StopIteration):
        parsed(b"", complete=True)
