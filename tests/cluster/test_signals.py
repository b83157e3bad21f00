"""Signals end, stop or harm no process of a cluster, but for those that are documented."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cluster.tools import WITH_NOHUP, WITH_TERMINAL, WITHOUT_TERMINAL, get
from tests.support import StartCluster, alive, eventually, pool_of

UNSTOPPABLE = {signal.SIGKILL, signal.SIGSTOP, 32, 33}
"""Nobody can catch those; the last two belong to the C library."""

CRASHES = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}

OTHERS = {*range(1, 65)} - UNSTOPPABLE - CRASHES

MEANT = {
    "primary": {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP},
    "pool": set(),
    "worker": {signal.SIGTERM, signal.SIGQUIT},
}
"""What ends or replaces something, as docs/commands.md says."""


def heard(pid: int) -> bool:
    """Whether no signal waits to be delivered to a process, which runs."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    waiting = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return not waiting and fields["State"][0] in "RS"


def test_no_other_signal_does_anything_to_any_process(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", prefix=WITH_TERMINAL).ready()
    (worker,) = cluster.workers()
    kinds = {"primary": cluster.pid, "pool": pool_of(cluster), "worker": worker["pid"]}
    for kind, pid in kinds.items():
        for number in sorted(OTHERS - MEANT[kind]):
            os.kill(pid, number)
            eventually(lambda pid=pid: heard(pid))  # type: ignore[misc]
            assert get(cluster.address).status == 200, (kind, number)
    status = cluster.status()
    assert (status["pid"], pool_of(cluster)) == (kinds["primary"], kinds["pool"])
    assert [each["id"] for each in cluster.workers()] == [1]
    assert not any(status["restarts"].values())
    assert "SIGUSR2 does nothing here; for new code: python -m launcher reload" in cluster.log
    assert "Ctrl-Z does nothing here" in cluster.log
    assert cluster.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_is_asked_to_leave_is_replaced(
    start_cluster: StartCluster, number: signal.Signals
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    os.kill(cluster.workers()[0]["pid"], number)
    eventually(lambda: [worker["id"] for worker in cluster.workers()] == [2])


@pytest.mark.parametrize("prefix", [WITHOUT_TERMINAL, WITH_NOHUP], ids=["none", "nohup"])
def test_a_hang_up_reloads_where_it_does_not_mean_the_terminal(
    start_cluster: StartCluster, prefix: tuple[str, ...]
) -> None:
    cluster = start_cluster("echo:app", "-w", "1", prefix=prefix).ready()
    os.kill(cluster.pid, signal.SIGHUP)
    eventually(lambda: cluster.status()["generation"] == 2 and cluster.ready())
    assert cluster.status()["restarts"] == {
        **dict.fromkeys(cluster.status()["restarts"], 0),
        "reload": 1,
    }
    assert get(cluster.address).status == 200


# An app's own


@pytest.mark.parametrize("how", ["--preload", "--no-preload"])
def test_handlers_that_an_app_installs_while_it_is_loaded_are_the_workers(
    start_cluster: StartCluster, tmp_path: Path, how: str
) -> None:
    told = tmp_path / "told"
    stacks = tmp_path / "told.stacks"
    cluster = start_cluster("handlers:app", "-w", "1", how, COUNT_FILE=str(told)).ready()
    pool, worker = pool_of(cluster), cluster.workers()[0]["pid"]
    for number in (signal.SIGUSR2, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(pool, number)
    os.kill(worker, signal.SIGUSR2)
    eventually(lambda: told.read_text() == f"SIGUSR2 {worker}\n")
    os.kill(worker, signal.SIGINT)
    eventually(lambda: told.read_text().endswith(f"SIGINT {worker}\n"))
    before = stacks.stat().st_size
    os.kill(worker, signal.SIGHUP)
    eventually(lambda: stacks.stat().st_size > before)
    assert "most recent call first" in stacks.read_text()
    assert json.loads(get(cluster.address, "/children").text) == [signal.SIGTERM] * 2
    assert [alive(pool), alive(worker)] == [True, True]
    os.kill(worker, signal.SIGTERM)  # the launcher's own, whatever the app does
    eventually(lambda: [each["id"] for each in cluster.workers()] == [2])
    assert "SIGTERM" not in told.read_text()
    assert cluster.status()["restarts"]["crash"] == 0


def test_a_handler_may_pass_on_to_what_the_launcher_does(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    cluster = start_cluster("handlers:app", "-w", "1", COUNT_FILE=str(told)).ready()
    worker = cluster.workers()[0]["pid"]
    os.kill(worker, signal.SIGQUIT)
    eventually(lambda: [each["id"] for each in cluster.workers()] == [2])
    assert told.read_text() == f"SIGQUIT {worker}\n"
