"""What a worker remembers is bounded in bytes, whatever the app answers."""

from __future__ import annotations

from tests.cluster.tools import resident_bytes
from tests.faults.wire import Wire
from tests.support import StartCluster

MB = 1 << 20
COOKIE = 8 * 1024
ANSWERS = 2000
MOST = 6 * MB


def test_heads_that_never_come_again_are_not_kept(start_cluster: StartCluster) -> None:
    cluster = start_cluster("shapes:application", "-w", "1").ready()
    pid = cluster.workers()[0]["pid"]
    with Wire(cluster.address) as wire:
        for _ in range(50):
            wire.ask(f"/cookie?size={COOKIE}")
        before = resident_bytes(pid)
        for _ in range(ANSWERS):
            assert wire.ask(f"/cookie?size={COOKIE}").status == 200
        assert resident_bytes(pid) - before < MOST
