"""Workers that accept by themselves and have no descriptors left for it."""

from __future__ import annotations

from contextlib import ExitStack

from tests.cluster.tools import cpu_seconds
from tests.faults.tools import no_descriptors, pass_time
from tests.faults.wire import Wire
from tests.support import StartCluster, eventually

MEASURED = 1.5
SPINNING = MEASURED / 3


def test_out_of_descriptors_connections_wait_and_nobody_spins(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--policy", "kernel").ready()
    pid = cluster.workers()[0]["pid"]
    with ExitStack() as stack:
        idle = stack.enter_context(Wire(cluster.address))
        assert idle.ask().status == 200
        with no_descriptors(pid):
            wires = [stack.enter_context(Wire(cluster.address)).get("/echo/x") for _ in range(5)]
            eventually(lambda: "cannot accept: Too many open files" in cluster.log)
            used = cpu_seconds(pid)
            pass_time(MEASURED)
            assert cpu_seconds(pid) - used < SPINNING
            assert idle.rest() == b"", "it has made room, as far as it could"
        assert [wire.reply().status for wire in wires] == [200] * 5
    assert cluster.log.count("cannot accept") == 1
    assert cluster.log.count("accepting again") == 1
