"""An app that does something else with a body at each path; a Flask app among it, at /flask."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, request

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], None]]

flask_app = Flask(__name__)
flask_app.config["MAX_CONTENT_LENGTH"] = 64 << 20


@flask_app.post("/flask/form")
def form() -> str:
    return ",".join(request.form)


@flask_app.post("/flask/data")
def data() -> str:
    return str(len(request.get_data()))


@flask_app.post("/flask/login")
def login() -> tuple[str, int]:
    return "who are you?", 401


def say(line: str) -> None:
    """Append a line to COUNT_FILE, for the test to see how far the app has come."""
    if path := os.environ.get("COUNT_FILE"):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, line.encode() + b"\n")
        os.close(fd)


def answer(start: Start, text: str, status: str = "200 OK") -> Iterable[bytes]:
    body = text.encode()
    start(status, [("Content-Length", str(len(body)))])
    return [body]


def digest(environ: Environ, start: Start) -> Iterable[bytes]:
    """How much came, and its digest."""
    say(f"begun {environ['QUERY_STRING']}")
    size, sha = 0, hashlib.sha256()
    while piece := environ["wsgi.input"].read(100_000):
        size += len(piece)
        sha.update(piece)
    say(f"read {size}")
    return answer(start, f"{size} {sha.hexdigest()}")


def refuse(environ: Environ, start: Start) -> Iterable[bytes]:
    """At length, if the query says so."""
    return answer(start, "who are you?" * int(environ["QUERY_STRING"] or 1), "401 Unauthorized")


def some(environ: Environ, start: Start) -> Iterable[bytes]:
    """Read as many bytes as the query says, and answer once the file is there that it names."""
    size, _, gate = environ["QUERY_STRING"].partition("&")
    environ["wsgi.input"].read(int(size))
    say(f"read {size}")
    while gate and not os.path.exists(gate):
        time.sleep(0.005)
    return answer(start, size)


def interface(environ: Environ, start: Start) -> Iterable[bytes]:
    """All that PEP 3333 says a body can be asked for, and all that io says besides."""
    body = environ["wsgi.input"]
    found = [
        body.read(0),
        body.read(3),
        body.read(size=4),
        body.readline(),
        body.readline(3),
        body.readline(size=2),
        body.readline(-1),
        next(body),
        *body.readlines(),
    ]
    rest = [body.read(None), body.read(-1), body.read(), body.readline(), body.readlines(1)]
    assert not any(rest), rest
    assert list(body) == []
    return answer(start, json.dumps([piece.decode() for piece in found]))


def lines(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, str(sum(1 for _ in environ["wsgi.input"])))


def everything(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, str(len(environ["wsgi.input"].read(None))))


def duplex(environ: Environ, start: Start) -> Iterable[bytes]:
    """Each piece back before the next is read."""
    size = int(environ["QUERY_STRING"])

    def pieces() -> Iterator[bytes]:
        while piece := environ["wsgi.input"].read(size):
            yield piece.upper()

    start("200 OK", [])
    return pieces()


def swallow(environ: Environ, start: Start) -> Iterable[bytes]:
    """Whatever is wrong with the body, the app says that all is well."""
    try:
        environ["wsgi.input"].read()
    except Exception as error:
        say(f"{type(error).__name__} {isinstance(error, OSError)}")
    return answer(start, "all is well")


PATHS: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/digest": digest,
    "/refuse": refuse,
    "/some": some,
    "/interface": interface,
    "/lines": lines,
    "/everything": everything,
    "/duplex": duplex,
    "/swallow": swallow,
}


def application(environ: Environ, start: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/flask/"):
        return flask_app(environ, start)
    if path in PATHS:
        return PATHS[path](environ, start)
    return answer(start, path)
