"""Two hundred clients that read nothing cost a worker so much memory, no disk, and not for long."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress

from tests.cluster.tools import get
from tests.faults.tools import descriptors, proportional_bytes
from tests.support import Cluster, StartCluster, eventually

CLIENTS = 200
SIZE = 10_000_000
MB = 1 << 20


def files_of_no_name(pid: int) -> int:
    """Bytes of temporary files."""
    found = 0
    for fd, target in descriptors(pid).items():
        with suppress(OSError):
            if target.endswith("(deleted)") and "memfd" not in target:
                found += os.stat(f"/proc/{pid}/fd/{fd}").st_blocks * 512
    return found


def settled_memory(pid: int) -> int:
    """What it has when it no longer grows."""
    before = 0

    def settled() -> int:
        nonlocal before
        before, last = proportional_bytes(pid), before
        return before if before <= last * 1.01 else 0

    return eventually(settled)


def ask(cluster: Cluster, path: str) -> socket.socket:
    client = socket.create_connection(cluster.address, timeout=20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return client


def test_clients_that_read_nothing(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--threads", "4").ready()
    address, pid = cluster.address, cluster.workers()[0]["pid"]
    for _ in range(20):
        get(address)
    idle = settled_memory(pid)
    most = 0

    def all_have_had_their_turn() -> bool:
        nonlocal most
        most = max(most, proportional_bytes(pid) + files_of_no_name(pid))
        return int(cluster.status()["requests"]) >= CLIENTS

    with ExitStack() as stack:
        for number in range(CLIENTS):
            path = f"/big/{SIZE}" if number % 2 else f"/stream/100/{SIZE // 100}"
            stack.enter_context(ask(cluster, path))
        eventually(all_have_had_their_turn, within=30)
        assert get(address).text.startswith("Running on worker")
        assert most <= idle + 128 * MB
    eventually(lambda: proportional_bytes(pid) <= 1.1 * idle)
    assert "those who read least are cut" in cluster.log
