"""wsgi.input is a file, whatever the app asks of it, with a body and without."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import IterUnreader

from launcher.worker.exchange.input import Input

TEXT = b"one,two\nthree,four\nfive"

new_body: Any = Body  # gunicorn has no types
new_reader: Any = LengthReader
new_unreader: Any = IterUnreader


def with_body() -> Input:
    pieces = [TEXT[:5], TEXT[5:9], TEXT[9:]]
    return Input(new_body(new_reader(new_unreader(pieces), len(TEXT))))


READS: list[Callable[[Any], Any]] = [
    lambda body: body.read(),
    lambda body: body.read(None),
    lambda body: body.read(-1),
    lambda body: body.read(0),
    lambda body: body.read(4),
    lambda body: body.read(10_000),
    lambda body: body.readline(),
    lambda body: body.readline(None),
    lambda body: body.readline(3),
    lambda body: body.readlines(),
    lambda body: body.readlines(None),
    lambda body: [*body],
    lambda body: next(body, None),
    lambda body: (body.readline(), body.read(2), body.read()),
    lambda body: body.readinto(bytearray(5)),
    lambda body: body.read1(0),
    lambda body: io.TextIOWrapper(body).readlines(),
    lambda body: [*csv.reader(io.TextIOWrapper(body))],
    lambda body: io.BufferedReader(body).peek(0)[:0],
    lambda body: (body.readable(), body.writable(), body.seekable(), body.closed),
]


@pytest.mark.parametrize("read", READS)
def test_it_is_read_as_any_file_is(read: Callable[[Any], Any]) -> None:
    whole, empty = io.BytesIO(TEXT), io.BytesIO(b"")
    for file in (whole, empty):
        file.writable = file.seekable = lambda: False  # type: ignore[method-assign]
    assert read(with_body()) == read(whole)
    assert read(Input()) == read(empty)


def test_names_and_hints() -> None:
    assert with_body().read(size=3) == b"one"
    assert with_body().readline(size=3) == b"one"
    assert with_body().readlines(hint=1) == [b"one,two\n"]
    assert Input().read(size=5) == b""
    assert Input().readlines(hint=5) == []


@pytest.mark.parametrize("make", [with_body, Input])
def test_it_is_not_the_apps_to_close(make: Callable[[], Input]) -> None:
    body = make()
    expected = make().read()
    with body:
        body.close()
    assert not body.closed
    assert body.read() == expected
