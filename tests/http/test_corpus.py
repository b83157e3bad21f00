"""gunicorn's request corpus over real sockets: the same verdicts as gunicorn's own tests.

Except where RFC 9112 asks for more than gunicorn does:

* section 3.2: an HTTP/1.1 request without a Host is a 400. Such a request is
  sent as it is, for that, and once more with a Host, for what it is about.
* section 3.2.2: the host of an absolute-form target is the Host (the corpus
  happens to have none that differ, so nothing of it changes).
* RFC 9110 section 9.3.6: CONNECT asks for a tunnel, which is not to be had here: 400.
* The PROXY protocol, section 2: where its header is asked for, it has to be there: 400.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.http import corpus
from tests.http.corpus import Case
from tests.http.wire import Response, Wire
from tests.support import Cluster, StartCluster

LIMITS = {
    "limit_request_line": 4094,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
}
"""gunicorn's defaults of what is an option of the launcher."""

LONGEST_LINE = 8190
"""gunicorn takes a longer one to mean this; the launcher refuses it."""

Pieces = list[bytes]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """All that is to be sent."""
    loaded = corpus.load()
    return loaded + [case.with_host() for case in loaded if case.lacks_host]


@pytest.fixture(scope="module")
def addresses(
    cases: list[Case], start_shared: StartCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, int]]:
    """The address of a cluster for each configuration that the corpus asks for."""
    folder = tmp_path_factory.mktemp("configurations")
    settings = {settings_of(case): case.settings for case in cases}
    started = {
        key: start(start_shared, values, folder / f"{index}.py")
        for index, (key, values) in enumerate(settings.items())
    }
    return {key: cluster.ready(60).address for key, cluster in started.items()}


def settings_of(case: Case) -> str:
    return repr(sorted(case.settings.items()))


def start(start_shared: StartCluster, settings: dict[str, Any], config: Path) -> Cluster:
    """One worker with one thread: what is sent first is looked at first, see `in_order`."""
    limits = {name: settings.get(name, default) for name, default in LIMITS.items()}
    limits["limit_request_line"] = min(limits["limit_request_line"], LONGEST_LINE)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in limits.items()]
    others = {name: value for name, value in settings.items() if name not in LIMITS}
    config.write_text("".join(f"{name} = {_as_written(v)!r}\n" for name, v in others.items()))
    return start_shared(
        "mirror:application",
        *("--workers", "1", "--threads", "1", "--name", f"corpus-{config.stem}"),
        *options,
        *("--gunicorn-config", str(config)),
    )


def _as_written(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value


# The ways to send


def whole(data: bytes) -> Pieces:
    return [data]


def in_the_middle(data: bytes) -> Pieces:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def after_the_first_line(data: bytes) -> Pieces:
    end = data.find(b"\n") + 1
    return [data[:end], data[end:]]


def byte_by_byte(data: bytes) -> Pieces:
    return [bytes([byte]) for byte in data]


@pytest.mark.parametrize("cut", [whole, in_the_middle, after_the_first_line, byte_by_byte])
def test_gunicorns_corpus(
    cut: Callable[[bytes], Pieces],
    cases: list[Case],
    addresses: dict[str, tuple[str, int]],
    subtests: pytest.Subtests,
) -> None:
    def exchange(case: Case) -> list[Response]:
        return answers(addresses[settings_of(case)], cut(case.data), case.introduction)

    with ThreadPoolExecutor(8) as pool:
        for case, got in zip(cases, pool.map(exchange, cases), strict=True):
            with subtests.test(case.name):
                check(case, got)


def answers(address: tuple[str, int], pieces: Pieces, introduction: bytes) -> list[Response]:
    """Every response to what is sent; the client says when it has sent all."""
    with Wire(address) as wire:
        for piece in in_order(address, pieces, introduction):
            wire.send_what_it_takes(piece)
        return wire.finish().responses()


def in_order(address: tuple[str, int], pieces: Pieces, introduction: bytes) -> Iterator[bytes]:
    """The pieces, of two the second only when the server has looked at the first.

    Its only thread has done so once it has answered a client that came later, which has to
    begin with ``introduction``.
    """
    first, *others = pieces
    yield first
    if len(others) == 1:
        with Wire(address) as bystander:
            bystander.send(introduction + b"GET / HTTP/1.0\r\n\r\n")
            assert bystander.response().status == 200
    yield from others


def check(case: Case, got: list[Response]) -> None:
    """What the app saw of each request, up to the one that is refused."""
    statuses = [400 if case.is_refused(environ) else 200 for environ in case.environs]
    if 400 in statuses:
        del statuses[statuses.index(400) + 1 :]
    elif case.status:
        statuses.append(case.status)
    assert [response.status for response in got] == statuses
    for response, expected in zip(got, case.environs, strict=False):
        if response.status == 200:
            seen = json.loads(response.body)
            assert {key: seen.get(key) for key in expected} == expected
            assert {key for key in seen if key.startswith("HTTP_")} <= expected.keys()
        else:
            assert response.closes
