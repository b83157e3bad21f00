"""Two thousand requests with something wrong with them: nothing breaks, nothing is answered twice.

Seeded, so that what fails fails again: the failing case is printed with its number.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http.wire import Response, Wire, chunked, head
from tests.support import Cluster, StartCluster, eventually

CASES = 2000
SEED = 20261122

ODD = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\t", b" ", b"  ", b":", b",", b";"),
    *(b"0", b"1", b"-1", b"+", b"_", b"0x", b"9" * 20, b"ffffffffffffffff", b"\xff", b"\x80"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"chunked", b"Host: b\r\n", b"Content-Length: 3\r\n", b'"', b"%"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n"),
]


def valid(rng: random.Random, number: int) -> bytes:
    """A request, or a few in a row, that is well formed."""
    body = rng.randbytes(rng.choice([0, 1, 20, 3000, 70_000]))
    small = body[:20]
    path = f"/{number}"
    kinds: list[Callable[[], bytes]] = [
        lambda: head("GET", path),
        lambda: head("GET", path, "X-Long: " + "x" * 3000, "Accept: */*"),
        lambda: head("OPTIONS", "*"),
        lambda: head("GET", f"http://b{path}?q=1"),
        lambda: head("POST", path, f"Content-Length: {len(body)}") + body,
        lambda: (
            head("POST", path, "Transfer-Encoding: chunked") + chunked(*([body] if body else []))
        ),
        lambda: (
            head("POST", path, "Transfer-Encoding: chunked")
            + chunked(b"hello", b" world", extension=";a=b", trailers="X: y\r\n")
        ),
        lambda: head("POST", path, f"Content-Length: {len(small)}", "Expect: 100-continue") + small,
        lambda: head("GET", path, "Connection: keep-alive", version="1.0"),
    ]
    return b"".join(rng.choice(kinds)() for _ in range(rng.choice([1, 1, 1, 2, 4])))


def cut_out(rng: random.Random, data: bytes) -> bytes:
    start, size = place(rng, data), rng.choice([1, 2, 10, 100])
    return data[:start] + data[start + size :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    start, size = place(rng, data), rng.choice([1, 2, 10, 100])
    return data[: start + size] + data[start:]


def insert(rng: random.Random, data: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + rng.choice(ODD) + data[start:]


def replace(rng: random.Random, data: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + rng.choice([*ODD, rng.randbytes(1)]) + data[start + 1 :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: place(rng, data)]


def place(rng: random.Random, data: bytes) -> int:
    """Anywhere, but rather in what is parsed than in a long body."""
    return rng.randrange(max(1, rng.choice([len(data), min(len(data), 150)])))


def mutated(number: int) -> tuple[random.Random, bytes]:
    rng = random.Random(SEED + number)
    data = valid(rng, number)
    for _ in range(rng.choice([1, 1, 2, 5])):
        data = rng.choice([cut_out, repeat, insert, insert, replace, replace, truncate])(rng, data)
    return rng, data


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster) -> Cluster:
    return start_shared("mirror:application", "-w", "1", "--threads", "3").ready()


def exchange(address: tuple[str, int], number: int) -> list[Response]:
    """Send a mutated request in pieces; what comes back until the server closes."""
    rng, data = mutated(number)
    with Wire(address) as wire:
        rest = data
        while rest:
            size = rng.choice([1, 7, 100, 10_000, 1_000_000])
            wire.send_what_it_takes(rest[:size])
            rest = rest[size:]
        if rng.random() < 0.1:
            wire.reset()
            return []
        responses = wire.finish().responses()
    check(data, responses)
    return responses


def check(data: bytes, responses: list[Response]) -> None:
    """One response to one request, in order, and none after one that closes."""
    if not responses:
        return
    *others, last = responses
    assert not any(response.closes or response.status != 200 for response in others)
    if last.status != 200:
        assert 400 <= last.status < 600
        assert last.closes
        responses = responses[:-1]
    targets = [json.loads(response.body)["RAW_URI"].encode() for response in responses]
    start = 0
    for target in targets:
        start = data.find(b" " + target + b" HTTP/1.", start) + 1
        assert start, (target, "is answered more often than it is asked, or in another order")


def test_two_thousand_mutations(cluster: Cluster) -> None:
    (worker,) = cluster.workers()
    descriptors = Path(f"/proc/{worker['pid']}/fd")
    before = len([*descriptors.iterdir()])
    address = cluster.address
    statuses: Counter[int] = Counter()

    def one(number: int) -> None:
        try:
            statuses.update(response.status for response in exchange(address, number))
        except BaseException as error:
            raise AssertionError(f"case {number}: {mutated(number)[1][:2000]!r}") from error

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(CASES)))
    assert statuses[200] > CASES / 4
    assert statuses[400] > CASES / 4
    assert not any(500 <= status != 501 for status in statuses), "nothing here is the app's fault"
    eventually(lambda: cluster.status()["connections"] == 0)
    eventually(lambda: len([*descriptors.iterdir()]) == before)
    assert [each["id"] for each in cluster.workers()] == [worker["id"]]
    assert "Traceback" not in cluster.log
