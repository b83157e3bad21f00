"""A plain WSGI app that shows the environ it got, in the way that ``X-Answer`` asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Start = Callable[..., Callable[[bytes], None]]
Answer = Callable[[bytes, Start], Iterable[Any]]
Hint = Callable[[list[tuple[str, str]]], None]

_DIFFERS = {"REMOTE_PORT", "SERVER_PORT", "launcher.worker_id", "launcher.worker_slot"}


def seen(environ: dict[str, Any]) -> bytes:
    """Everything of the environ that can be compared between two servers."""
    shown: dict[str, object] = {
        key: value if isinstance(value, str | int | bool | tuple) else type(value).__name__
        for key, value in sorted(environ.items())
        if key not in _DIFFERS and key not in {"wsgi.input", "wsgi.early_hints"}
    }
    body = environ["wsgi.input"]
    shown["body"] = [body.read(size=3).decode("latin-1"), body.read(None).decode("latin-1")]
    shown["lines"] = [body.readline().decode(), *map(str, body), *body.readlines(None)]
    shown["hints"] = callable(environ["wsgi.early_hints"])
    shown["path"] = path_taken(environ)
    return json.dumps(shown).encode()


def path_taken(environ: dict[str, Any]) -> str:
    """Which path the request took: the one thing that may differ."""
    hot = environ["wsgi.early_hints"].__module__.endswith("plain_response")
    return "<path hot>" if hot else "<path ref>"


class Closing:
    """An iterable whose close() is part of the answer."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Nothing; but it is there to be called."""


class FailsToClose(Closing):
    """An iterable whose close() raises."""

    def close(self) -> None:
        raise RuntimeError("the app failed to clean up")


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    body = seen(environ)
    kind = environ.get("HTTP_X_ANSWER", "plain")
    if kind in WITH_HINTS:
        return WITH_HINTS[kind](body, start, environ["wsgi.early_hints"])
    return ANSWERS.get(kind, plain)(body, start)


def fields(body: bytes, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), *more, ("Content-Length", str(len(body)))]


def plain(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body]


def closing(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return Closing([body])


def chunked(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "application/json")])
    return [body[:5], body[5:]]


def one_piece(body: bytes, start: Start) -> Iterable[bytes]:
    """Of a length that the server can count."""
    start("200 OK", [("Content-Type", "application/json")])
    return [body]


class Sized(Closing):
    """An iterable of its own that knows how many pieces it has, and may be wrong."""

    def __init__(self, number: int, pieces: Iterable[bytes]) -> None:
        super().__init__(pieces)
        self._number = number

    def __len__(self) -> int:
        if self._number < 0:
            raise NotImplementedError
        return self._number


def one_sized_piece(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return Sized(1, (piece for piece in [body]))


def one_piece_of_two(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return Sized(1, [body, b"more"])


def of_unknown_size(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return Sized(-1, [body])


def one_yielded_piece(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    yield body


def one_empty_piece(_body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return (b"",)


def no_piece(_body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return []


def one_text(body: bytes, start: Start) -> Iterable[Any]:
    start("200 OK", [])
    return [body.decode()]


def bare_bytes(_body: bytes, start: Start) -> Iterable[Any]:
    start("200 OK", [])
    return b"x"


def one_piece_behind_write(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])(body[:4])
    return [body[4:]]


def one_piece_and_close(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Connection", "close")])
    return [body]


def one_piece_with_exc_info(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    try:
        raise RuntimeError("replaced")
    except RuntimeError as error:
        start("500 Oh", [("X-A", "b")], (RuntimeError, error, None))
    return [body]


# Statuses that have a meaning for the framing, or none at all (RFC 9110 section 15)


def with_status(status: str, *headers: tuple[str, str]) -> Answer:
    """Answer with a status and a body, whether or not it may have one."""

    def answer(body: bytes, start: Start) -> Iterable[bytes]:
        start(status, [*headers, ("X-A", "b")])
        return [body]

    return answer


def goes_on_after_a_refusal(body: bytes, start: Start) -> Iterable[bytes]:
    try:
        start("100 Continue", [])
    except ValueError:
        return [body]
    return []


def thinks_better_after_a_refusal(body: bytes, start: Start) -> Iterable[bytes]:
    try:
        start("103 Early Hints", [("X-First", "1")])
    except ValueError:
        start("200 OK", fields(body))
    return [body]


UPGRADE = (("Upgrade", "websocket"), ("Connection", "Upgrade"))

STATUSES: dict[str, Answer] = {
    "continues": with_status("100 Continue"),
    "processes": with_status("102 Processing"),
    "hints_in_earnest": with_status("103 Early Hints", ("Link", "</a.css>; rel=preload")),
    "switches": with_status("101 Switching Protocols"),
    "switches_to": with_status("101 Switching Protocols", *UPGRADE),
    "status_000": with_status("000 Nothing"),
    "status_099": with_status("099 Nothing"),
    "status_600": with_status("600 Beyond"),
    "status_999": with_status("999 Request denied"),
    "no_content_with_content": with_status("204 No Content"),
    "no_content_with_length": with_status("204 No Content", ("Content-Length", "5")),
    "no_content_chunked": with_status("204 No Content", ("Transfer-Encoding", "chunked")),
    "resets_content": with_status("205 Reset Content"),
    "resets_content_with_length": with_status("205 Reset Content", ("Content-Length", "5")),
    "resets_content_chunked": with_status("205 Reset Content", ("Transfer-Encoding", "chunked")),
    "not_modified_with_content": with_status("304 Not Modified"),
    "not_modified_with_length": with_status("304 Not Modified", ("Content-Length", "5")),
    "upgrade_required": with_status("426 Upgrade Required", *UPGRADE),
    "length_and_chunked": with_status(
        "200 OK", ("Content-Length", "2"), ("Transfer-Encoding", "chunked")
    ),
}


def pieces(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body[:5], b"", body[5:]]


def no_content(_body: bytes, start: Start) -> Iterable[bytes]:
    start("204 No Content", [("X-A", "b")])
    return []


def not_modified(body: bytes, start: Start) -> Iterable[bytes]:
    start("304 Not Modified", fields(body, ("ETag", '"x"')))
    return []


def empty(_body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(b""))
    return []


def empty_piece(_body: bytes, start: Start) -> Iterable[bytes]:
    start("404 Not Found", fields(b""))
    return [b""]


def too_long(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body, b"more"]


def too_long_at_once(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body + b"more"]


def too_short(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body[:-3]]


def late_start(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body


def never_started(body: bytes, _start: Start) -> Iterable[bytes]:
    return [body]


def exc_info(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    try:
        raise RuntimeError("replaced")
    except RuntimeError as error:
        start("500 Oh", fields(body), (RuntimeError, error, None))
    return [body]


def started_twice(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    start("200 OK", fields(body))
    return [body]


def with_write(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))(body)
    return []


def write_and_pieces(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))(body[:4])
    return [body[4:]]


def text(body: bytes, start: Start) -> Iterable[Any]:
    start("200 OK", fields(body))
    return [body.decode()]


def byte_array(body: bytes, start: Start) -> Iterable[Any]:
    start("200 OK", fields(body))
    return [bytearray(body)]


def hop_by_hop(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("Keep-Alive", "timeout=5"), ("Connection", "close")))
    return [body]


def odd_field(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("X-Spaced", "  b \t"), ("x-latin", "\xe9")))
    return [body]


def bad_field_name(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("X Y", "b")))
    return [body]


def bad_field_value(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("X-Y", "b\r\nSet-Cookie: a=b")))
    return [body]


def field_is_no_text(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("X-Y", 5)))  # type: ignore[arg-type]
    return [body]


def bad_status(body: bytes, start: Start) -> Iterable[bytes]:
    start("200\r\nX: y", fields(body))
    return [body]


def bare_status(body: bytes, start: Start) -> Iterable[bytes]:
    start("200", fields(body))
    return [body]


def two_lengths(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("content-length", str(len(body)))))
    return [body]


def odd_length(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", f" {len(body)} ")])
    return [body]


def negative_length(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "-1")])
    return [body]


def underscored_length(body: bytes, start: Start) -> Iterable[bytes]:
    """Python takes that for a number."""
    start("200 OK", [("Content-Length", f"0_{len(body)}")])
    return [body]


def differing_lengths(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body, ("Content-Length", str(len(body) - 1))))
    return [body]


def iterated_fields(body: bytes, start: Start) -> Iterable[bytes]:
    """Fields that can be looked at once."""
    start("200 OK", iter(fields(body, ("X-A", "b"))))
    return [body]


def raises(_body: bytes, _start: Start) -> Iterable[bytes]:
    raise RuntimeError("the app failed")


def raises_after_start(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    raise RuntimeError("the app failed")


def raises_connection_error(_body: bytes, _start: Start) -> Iterable[bytes]:
    raise ConnectionRefusedError("the database is down")


def exits(_body: bytes, _start: Start) -> Iterable[bytes]:
    raise SystemExit(3)


def is_cancelled(_body: bytes, _start: Start) -> Iterable[bytes]:
    raise asyncio.CancelledError


def used_the_socket(_body: bytes, _start: Start) -> Iterable[bytes]:
    raise StopIteration


# Apps that go on when all that they announced is sent


def raises_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body
    raise RuntimeError("the app failed")


def is_cancelled_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body
    raise asyncio.CancelledError


def fails_to_close(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return FailsToClose([body])


def fails_to_close_chunks(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return FailsToClose([body])


def fails_to_close_too_short(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return FailsToClose([body[:-3]])


def writes_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    write = start("200 OK", fields(body))
    yield body
    write(b"more")


def starts_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body
    start("200 OK", fields(body))
    yield body


def replaces_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body
    try:
        raise RuntimeError("too late")
    except RuntimeError as error:
        start("500 Oh", fields(body), (RuntimeError, error, None))
    yield body


def text_behind_the_body(body: bytes, start: Start) -> Iterable[Any]:
    start("200 OK", fields(body))
    return [body, "more"]


def nothing_behind_the_body(body: bytes, start: Start) -> Iterable[bytes]:
    start("200 OK", fields(body))
    return [body, b"", b""]


def hints(body: bytes, start: Start, hint: Hint) -> Iterable[bytes]:
    hint([("Link", "</style.css>; rel=preload")])
    start("200 OK", fields(body))
    return [body]


def hints_between(body: bytes, start: Start, hint: Hint) -> Iterable[bytes]:
    start("200 OK", fields(body))
    hint([("Link", "</style.css>; rel=preload")])
    return [body]


def hints_behind_the_body(body: bytes, start: Start, hint: Hint) -> Iterable[bytes]:
    start("200 OK", fields(body))
    yield body
    hint([("Link", "</style.css>; rel=preload")])


def hints_that_frame(body: bytes, start: Start, hint: Hint) -> Iterable[bytes]:
    """With fields that an interim response must not have."""
    names = ("Content-Length", "transfer-encoding", "Connection", "X-A")
    hint([(name, "5") for name in names])
    start("200 OK", fields(body))
    return [body]


def hints_and_raises(_body: bytes, _start: Start, hint: Hint) -> Iterable[bytes]:
    hint([("Link", "</style.css>; rel=preload")])
    raise RuntimeError("the app failed")


ANSWERS: dict[str, Callable[[bytes, Start], Iterable[Any]]] = {
    function.__name__: function
    for function in (
        plain,
        closing,
        chunked,
        one_piece,
        one_sized_piece,
        one_piece_of_two,
        of_unknown_size,
        one_yielded_piece,
        one_empty_piece,
        no_piece,
        one_text,
        bare_bytes,
        one_piece_behind_write,
        one_piece_and_close,
        one_piece_with_exc_info,
        goes_on_after_a_refusal,
        thinks_better_after_a_refusal,
        pieces,
        no_content,
        not_modified,
        empty,
        empty_piece,
        too_long,
        too_long_at_once,
        too_short,
        late_start,
        never_started,
        exc_info,
        started_twice,
        with_write,
        write_and_pieces,
        text,
        byte_array,
        hop_by_hop,
        odd_field,
        bad_field_name,
        bad_field_value,
        field_is_no_text,
        bad_status,
        bare_status,
        two_lengths,
        odd_length,
        negative_length,
        underscored_length,
        differing_lengths,
        iterated_fields,
        raises,
        raises_after_start,
        raises_connection_error,
        exits,
        is_cancelled,
        used_the_socket,
        raises_behind_the_body,
        is_cancelled_behind_the_body,
        fails_to_close,
        fails_to_close_chunks,
        fails_to_close_too_short,
        writes_behind_the_body,
        starts_behind_the_body,
        replaces_behind_the_body,
        text_behind_the_body,
        nothing_behind_the_body,
    )
}

WITH_HINTS: dict[str, Callable[[bytes, Start, Hint], Iterable[bytes]]] = {
    function.__name__: function
    for function in (
        hints,
        hints_between,
        hints_behind_the_body,
        hints_that_frame,
        hints_and_raises,
    )
}

ANSWERS |= STATUSES

KINDS = (*ANSWERS, *WITH_HINTS)
"""Everything that ``X-Answer`` can ask for."""
