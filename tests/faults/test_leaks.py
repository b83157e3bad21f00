"""What a primary does a thousand times leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from launcher.control.client import call
from launcher.errors import LauncherError
from launcher.state.home import Home
from tests.cluster.tools import resident_bytes
from tests.faults.tools import name_of, settled_descriptors, threads
from tests.faults.wire import Wire, get
from tests.support import Cluster, StartCluster, children, eventually, sized

RELOADS = sized(24, 100)
"""And as many scalings: an even number, so that there are two workers in the end."""
CALLS = sized(240, 1_000)
REFUSALS = sized(30, 100)


@dataclass
class Belongings:
    """What a primary has."""

    descriptors: list[str]
    threads: int
    children: int
    resident: int


def belongings(cluster: Cluster) -> Belongings:
    eventually(lambda: len(children(cluster.pid)) == 1, within=30)
    eventually(lambda: len(cluster.status()["workers"]) == 2, within=30)
    return Belongings(
        sorted(kind(what) for what in settled_descriptors(cluster.pid).values()),
        threads(cluster.pid),
        len(children(cluster.pid)),
        resident_bytes(cluster.pid),
    )


def kind(what: str) -> str:
    """What is behind a descriptor, without the number of the very socket or pipe."""
    return what.partition(":[")[0]


def assert_nothing_left(before: Belongings, now: Belongings) -> None:
    assert now.descriptors == before.descriptors
    assert now.threads == before.threads == 1
    assert now.children == before.children == 1
    assert now.resident <= before.resident * 1.05


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    cluster = start_cluster("plain:application", "-w", "2").ready()
    # Once everything, so that every module is loaded.
    with Home.open(cluster.environment) as home:
        name = name_of(cluster)
        for verb, args in (("reload", {}), ("scale", {"to": "3"}), ("scale", {"to": "2"})):
            call(home, name, verb, args, timeout=60)
    return cluster


def test_many_reloads_and_scalings_and_calls(cluster: Cluster) -> None:
    before = belongings(cluster)
    name = name_of(cluster)
    with Home.open(cluster.environment) as home, Wire(cluster.address) as kept:
        for number in range(RELOADS):
            call(home, name, "reload", timeout=60)
            call(home, name, "scale", {"to": f"{3 - number % 2}"}, timeout=60)
            for _ in range(CALLS // RELOADS):
                call(home, name, "status", timeout=60)
            assert kept.ask("/").text.startswith("plain")
    after = belongings(cluster)
    print(f"RSS {before.resident} -> {after.resident}")
    assert_nothing_left(before, after)
    assert cluster.status()["generation"] == 2 + RELOADS


def test_what_is_refused_or_broken_off_leaves_nothing(cluster: Cluster) -> None:
    before = belongings(cluster)
    name, address = name_of(cluster), cluster.address
    with Home.open(cluster.environment) as home:
        for _ in range(REFUSALS):
            with pytest.raises(LauncherError):
                call(home, name, "scale", {"to": "2"}, timeout=10)
            with pytest.raises(LauncherError):
                call(home, name, "no-such-verb", timeout=10)
            home.connect(name, 5).close()
            Wire(address).close()
            Wire(address).send(b"GET / HT").close()
            Wire(address).get("/").close()
            assert get(address, "/").status == 200
    assert_nothing_left(before, belongings(cluster))
