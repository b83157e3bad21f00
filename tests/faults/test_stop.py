"""Who connects at the moment of a stop is served or refused, and never reset."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.faults.tools import faulty_calls, progress
from tests.faults.wire import Wire
from tests.load import Load
from tests.support import StartCluster, eventually

BACKLOG = 12

SLOW = "delay_exit=20000"
"""Microseconds: others connect between the primary's last look at the backlog and its closing."""


def test_nobody_is_reset_by_a_stop(start_cluster: StartCluster, tmp_path: Path) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    with (
        Load(cluster.address, one_shot=16) as load,
        faulty_calls(cluster.pid, "accept4", SLOW, tmp_path / "strace"),
    ):
        progress(load)
        assert cluster.stop() == 0
    assert [line for line in load.books.failures if "ConnectionRefused" not in line] == []


def test_nor_is_the_backlog_of_workers_that_accept_themselves(start_cluster: StartCluster) -> None:
    options = ("--policy", "kernel", "--threads", "1", "-w", "1")
    cluster = start_cluster("echo:app", *options).ready()
    with ExitStack() as stack:
        first = stack.enter_context(Wire(cluster.address)).get("/echo/x?sleep=0.5")
        eventually(lambda: cluster.workers()[0]["active"] == 1)
        wires = [stack.enter_context(Wire(cluster.address)).get("/echo/x") for _ in range(BACKLOG)]
        assert cluster.stop() == 0
        assert [wire.reply().status for wire in (first, *wires)] == [200] * (BACKLOG + 1)
