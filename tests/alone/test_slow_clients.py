"""Clients that are slow in every way cost the others nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from tests.faults.tools import assert_nothing_lost, percentile
from tests.faults.wire import Wire
from tests.load import Load
from tests.support import ROOT, Cluster, StartCluster, eventually

EACH = 200
REQUESTS = 200
ROUNDS = 5

NOISE = 0.025
"""Seconds that the 99th percentile of the best round may be off by on a shared machine.

The best of several interleaved rounds, because whatever else runs can only
make a round worse. One thread that is held would cost seconds.
"""


class SlowClients:
    """The other process; see slow_clients.py."""

    def __init__(self, cluster: Cluster) -> None:
        host, port = cluster.address
        self._cluster = cluster
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.alone.slow_clients", host, str(port), str(EACH)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @contextmanager
    def attached(self) -> Iterator[None]:
        """All of them are connected meanwhile; none is cut."""
        assert self._say() == "connected"
        eventually(lambda: self._cluster.status()["connections"] >= 4 * EACH)
        yield
        assert self._say() == "0", "clients that were cut"
        eventually(lambda: self._cluster.status()["connections"] == 0, within=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Send them away."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _say(self) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("go on\n")
        return self._process.stdout.readline().strip()


def latencies(cluster: Cluster) -> list[float]:
    """Of normal requests, one after another; every one is answered."""
    found = []
    with Wire(cluster.address, timeout=10) as wire:
        for number in range(REQUESTS):
            started = time.perf_counter()
            assert wire.ask(f"/echo/{number}").text.startswith(f"{number} GET")
            found.append(time.perf_counter() - started)
    return found


def test_800_slow_clients_on_8_threads_slow_nobody_down(
    start_cluster: StartCluster, record_property: Callable[[str, object], None]
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "4").ready()
    alone, among = [], []
    latencies(cluster)
    with SlowClients(cluster) as slow:
        for _ in range(ROUNDS):
            alone.append(percentile(latencies(cluster), 0.99))
            with slow.attached():
                among.append(percentile(latencies(cluster), 0.99))
                eventually(lambda: not any(worker["active"] for worker in cluster.workers()))
    record_property("p99_alone", min(alone))
    record_property("p99_among_slow_clients", min(among))
    print(f"p99 alone {min(alone):.4f} s, among {min(among):.4f} s")
    assert min(among) <= 2 * max(NOISE, min(alone))


SLOWHTTPTEST = shutil.which("slowhttptest")


@pytest.mark.long
@pytest.mark.skipif(not SLOWHTTPTEST, reason="slowhttptest is not installed")
@pytest.mark.parametrize(
    "attack", [("-H",), ("-B", "-s", "8192"), ("-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32")]
)
def test_slowhttptest_finds_the_service_available(
    start_cluster: StartCluster, attack: tuple[str, ...]
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--threads", "4").ready()
    host, port = cluster.address
    path = "/big/1000000" if attack[0] == "-X" else "/echo/x"
    options = ("-c", "500", "-r", "1000", "-i", "3", "-l", "11", "-p", "3")
    with Load(cluster.address, keep_alive=4, one_shot=2) as load:
        said = attacked(*attack, *options, "-u", f"http://{host}:{port}{path}")
        books = load.stop()
    verdicts = re.findall(r"service available:\s+(\w+)", said)
    assert verdicts, said
    assert set(verdicts) == {"YES"}
    served = re.findall(r"connected:\s+(\d+)\s+error:\s+(\d+)\s+closed:\s+(\d+)", said)
    assert max(int(connected) + int(closed) for connected, _, closed in served) >= 200, (
        "it was under way"
    )
    assert_nothing_lost(books)


def attacked(*arguments: str) -> str:
    """What slowhttptest says in the end, without its colours."""
    assert SLOWHTTPTEST
    done = subprocess.run(
        [SLOWHTTPTEST, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout)
