"""Who connects at the moment of a stop is served or refused, and never reset."""

from __future__ import annotations

from pathlib import Path

from tests.faults.tools import faulty_calls, progress
from tests.load import Load
from tests.support import StartCluster

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
