"""A plain WSGI app with an answer of every shape, by path; ``/told`` tells what became of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], None]]

CLOSED: list[str] = []
"""The paths whose iterables were closed."""


KEPT: list[Any] = []
"""What the app has of its sockets and never closes."""


class Pieces:
    """Pieces of a body; remembers that it was closed."""

    def __init__(self, path: str, pieces: Iterable[bytes]) -> None:
        self._path = path
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        CLOSED.append(self._path)


def plain(environ: Environ, start: Start) -> Iterable[bytes]:
    body = environ["RAW_URI"].encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def told(environ: Environ, start: Start) -> Iterable[bytes]:
    body = json.dumps(CLOSED).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def upload(environ: Environ, start: Start) -> Iterable[bytes]:
    """How much came, and its digest."""
    size, digest = 0, hashlib.sha256()
    while piece := environ["wsgi.input"].read(1 << 20):
        size += len(piece)
        digest.update(piece)
    body = f"{size} {digest.hexdigest()}".encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def size_of(environ: Environ, name: str = "size") -> int:
    return int(parse_qs(environ["QUERY_STRING"])[name][0])


def big(environ: Environ, start: Start) -> Iterable[bytes]:
    size = size_of(environ)
    start("200 OK", [("Content-Length", str(size))])
    return [b"x" * size]


def stream(environ: Environ, start: Start) -> Iterable[bytes]:
    """A chunked body of ``count`` pieces of ``size``."""
    count, size = size_of(environ, "count"), size_of(environ)
    start("200 OK", [])
    return Pieces("/stream", (bytes([97 + index % 26]) * size for index in range(count)))


def endless(environ: Environ, start: Start) -> Iterable[bytes]:
    """Until the client leaves."""

    def pieces() -> Iterator[bytes]:
        while True:
            yield b"tick\n"
            time.sleep(0.01)

    start("200 OK", [])
    return Pieces("/endless", pieces())


def short(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "10")])
    return Pieces("/short", [b"12345"])


def long(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "5")])
    return Pieces("/long", [b"123", b"45678", b"90"])


def until_close(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Connection", "close")])
    return [b"that is all"]


def write(environ: Environ, start: Start) -> Iterable[bytes]:
    send = start("200 OK", [("Content-Length", "9")])
    send(b"one")
    send(b"two")
    return [b"six"]


def write_chunks(environ: Environ, start: Start) -> Iterable[bytes]:
    send = start("200 OK", [])
    send(b"one")
    send(b"")
    return [b"two", b"", b"six"]


def nothing(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return []


def with_status(environ: Environ, start: Start) -> Iterable[bytes]:
    """The status in the query, with a body that it may not have."""
    start(f"{size_of(environ, 'status')} Whatever", [("Content-Length", "4")])
    return [b"body"]


def fail(environ: Environ, start: Start) -> Iterable[bytes]:
    raise RuntimeError("before start_response")


def fail_with(error: BaseException) -> Callable[[Environ, Start], Iterable[bytes]]:
    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        raise error

    return app


def fail_early(environ: Environ, start: Start) -> Iterable[bytes]:
    """After start_response, and after a piece that is nothing."""

    def pieces() -> Iterator[bytes]:
        yield b""
        raise RuntimeError("before the first byte")

    start("200 OK", [("Content-Length", "10")])
    return Pieces("/fail-early", pieces())


def fail_late(environ: Environ, start: Start) -> Iterable[bytes]:
    def pieces() -> Iterator[bytes]:
        yield b"12345"
        raise RuntimeError("in the middle")

    fields = [("Content-Length", "10")] if "length" in environ["QUERY_STRING"] else []
    start("200 OK", fields)
    return Pieces("/fail-late", pieces())


def fail_behind(environ: Environ, start: Start) -> Iterable[bytes]:
    """After the whole body, of which the client may not have taken much."""
    size = size_of(environ)

    def pieces() -> Iterator[bytes]:
        yield b"x" * size
        raise RuntimeError("behind the last byte")

    start("200 OK", [("Content-Length", str(size))])
    return Pieces("/fail-behind", pieces())


def second_thoughts(environ: Environ, start: Start) -> Iterable[bytes]:
    """Another head, which PEP 3333 allows with exc_info while nothing is sent."""
    start("200 OK", [("X-First", "1")])
    try:
        raise RuntimeError("changed my mind")
    except RuntimeError:
        start("503 Later", [("Content-Length", "5"), ("X-Second", "1")], sys.exc_info())
    return [b"later"]


def too_late(environ: Environ, start: Start) -> Iterable[bytes]:
    """Another head, when the first is sent."""

    def pieces() -> Iterator[bytes]:
        yield b"12345"
        try:
            raise RuntimeError("changed my mind")
        except RuntimeError:
            start("503 Later", [("Content-Length", "5")], sys.exc_info())
        yield b"67890"

    start("200 OK", [("Content-Length", "10")])
    return Pieces("/too-late", pieces())


def hints(environ: Environ, start: Start) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    return plain(environ, start)


def file(environ: Environ, start: Start) -> Iterable[bytes]:
    """The file ``path`` through wsgi.file_wrapper; ``length`` as announced, if it is."""
    query = parse_qs(environ["QUERY_STRING"])
    fields = [("Content-Length", query["length"][0])] if "length" in query else []
    start("200 OK", fields)
    opened = open(query["path"][0], "rb")  # noqa: SIM115  (the server closes it)
    opened.seek(int(query.get("skip", ["0"])[0]))
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened, 8192)
    return wrapped


def take_over(environ: Environ, start: Start) -> Iterable[bytes]:
    """Talk on the socket itself, and close it: Flask-Sock does, in another thread."""
    with environ["gunicorn.socket"] as sock:
        if environ["QUERY_STRING"] == "keep":
            KEPT.append(sock.dup())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\nbye")
    raise StopIteration


def cookie(environ: Environ, start: Start) -> Iterable[bytes]:
    """A head that never comes again."""
    value = os.urandom(size_of(environ) // 2).hex()
    start("200 OK", [("Set-Cookie", f"session={value}"), ("Content-Length", "2")])
    return [b"ok"]


def pause(environ: Environ, start: Start) -> Iterable[bytes]:
    time.sleep(size_of(environ, "seconds"))
    return plain(environ, start)


def close(environ: Environ, start: Start) -> Iterable[bytes]:
    """Close the socket of a plain request, and wait for the file ``gate``."""
    environ["gunicorn.socket"].close()
    gate = parse_qs(environ["QUERY_STRING"])["gate"][0]
    while not os.path.exists(gate):
        time.sleep(0.005)
    return plain(environ, start)


SHAPES: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/told": told,
    "/upload": upload,
    "/big": big,
    "/stream": stream,
    "/endless": endless,
    "/short": short,
    "/long": long,
    "/until-close": until_close,
    "/write": write,
    "/write-chunks": write_chunks,
    "/nothing": nothing,
    "/status": with_status,
    "/fail": fail,
    "/exit": fail_with(SystemExit(3)),
    "/cancelled": fail_with(asyncio.CancelledError()),
    "/reset": fail_with(ConnectionResetError("the app's own")),
    "/fail-early": fail_early,
    "/fail-late": fail_late,
    "/fail-behind": fail_behind,
    "/second-thoughts": second_thoughts,
    "/too-late": too_late,
    "/hints": hints,
    "/take-over": take_over,
    "/file": file,
    "/cookie": cookie,
    "/pause": pause,
    "/close": close,
}


def application(environ: Environ, start: Start) -> Iterable[bytes]:
    return SHAPES.get(environ["PATH_INFO"], plain)(environ, start)
