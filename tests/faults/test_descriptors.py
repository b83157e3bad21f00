"""Few descriptors (``ulimit -n``): told at the start; idle connections make room for new ones."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.cluster.test_bad_input import Failure
from tests.cluster.tools import Request, get
from tests.faults.tools import control
from tests.support import APPS, StartCluster, eventually

LIMIT = 128


def limited(descriptors: int) -> tuple[str, ...]:
    """A prefix: a command that may have so many."""
    return ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")


@pytest.mark.parametrize("policy", ["round-robin", "kernel"])
def test_the_longest_idle_connections_make_room_for_new_ones(
    start_cluster: StartCluster, policy: str
) -> None:
    options = ("-w", "2", "--policy", policy)
    cluster = start_cluster("echo:app", *options, prefix=limited(LIMIT)).ready()
    address = cluster.address
    with ExitStack() as stack:
        busy = stack.enter_context(Request(address, "/sleep/1.5", keep=True))
        kept = []
        for _ in range(2 * LIMIT):
            began = time.monotonic()
            kept.append(stack.enter_context(Request(address, keep=True)))
            assert kept[-1].reply().status == 200
            assert time.monotonic() - began < 2
        if policy != "kernel":  # there only a worker that is full closes any
            kept[0].until_closed()
        kept[-1].again("/clustered")
        assert kept[-1].reply().status == 200
        assert busy.reply().text == "slept"
        assert get(address).status == 200
    assert not any(cluster.status()["restarts"].values())
    if policy != "kernel":
        eventually(lambda: "there is room for connections again" in cluster.log)
        line = (
            f"and no room for more with {LIMIT} descriptors (ulimit -n): those that have been idle"
        )
        assert cluster.log.count(line) == 1


class WithFew(Failure):
    prefix = limited(64)


def test_with_too_few_it_does_not_start(tmp_path: Path) -> None:
    options = ("plain:application", "-w", "4", "--port", "0", "--chdir", str(APPS))
    failure = WithFew(tmp_path, "run", *options)
    assert failure.status == 1
    reason = "64 descriptors are too few for 4 workers, 85 are needed"
    advice = "raise the limit (ulimit -n, LimitNOFILE=), or have fewer workers"
    assert failure.line == f"{reason}: {advice}"
    assert failure.leaves_nothing()


def test_nor_is_it_scaled_to_what_they_do_not_suffice_for(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", prefix=limited(LIMIT)).ready()
    with pytest.raises(LauncherError, match="128 descriptors are too few for 100 workers"):
        control(cluster, "scale", to="100")
    control(cluster, "scale", to="2")
    assert len(cluster.workers()) == 2
