"""As many workers as the kernel really lets this process use, and why."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.tools import ask
from tests.support import APPS, ROOT, StartCluster

CPUS = len(os.sched_getaffinity(0))

pytestmark = pytest.mark.skipif(CPUS < 2, reason="tells nothing on a machine with one CPU")

V1 = Path("/sys/fs/cgroup/cpu")
PERIOD = 100_000

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
"""Starts a command in the cgroup that is its first argument."""

Prefix = tuple[str, ...]


@contextlib.contextmanager
def cgroup(parent: Path, name: str, percent: int) -> Iterator[Path]:
    """A cgroup v1 whose processes get so many percent of one CPU; -1 is no limit."""
    folder = parent / name
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup v1 to be had here: {error}")
    try:
        quota = PERIOD * percent // 100 if percent > 0 else -1
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
        yield folder
    finally:
        folder.rmdir()


@contextlib.contextmanager
def limited(percent: int) -> Iterator[Prefix]:
    """The beginning of a command that is bound by a quota of its own cgroup."""
    with cgroup(V1, f"launcher-test-{os.getpid()}", percent) as folder:
        yield "sh", "-c", ENTER, str(folder)


def sizing(*prefix: str, **environment: str) -> list[str]:
    """The lines of ``sizing`` behind ``prefix``."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "launcher", "sizing"],
        cwd=APPS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("percent", "workers", "quota"), [(150, 2, "1.5"), (50, 1, "0.5"), (100, 1, "1")]
)
def test_a_quota_is_rounded_up_and_told(percent: int, workers: int, quota: str) -> None:
    with limited(percent) as prefix:
        first, *limits = sizing(*prefix)
        assert first == f"{workers}: cpu quota {quota} of {os.cpu_count()} cores"
        assert f"quota: {quota} CPUs" in limits


def test_a_quota_of_an_ancestor_counts() -> None:
    with (
        cgroup(V1, f"launcher-test-{os.getpid()}", 50) as parent,
        cgroup(parent, "child", -1) as child,
    ):
        first = sizing("sh", "-c", ENTER, str(child))[0]
        assert first == f"1: cpu quota 0.5 of {os.cpu_count()} cores"


def test_a_quota_above_what_there_is_does_not_count() -> None:
    with limited(100 * CPUS * 4) as prefix:
        assert sizing(*prefix)[0].startswith(f"{CPUS}: ")
        assert "quota" not in sizing(*prefix)[0]


def test_an_affinity_to_one_cpu_gives_one_worker() -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    first, *limits = sizing("taskset", "-c", cpu)
    assert first == f"1: CPU affinity 1 of {os.cpu_count()} cores"
    assert f"affinity: 1 of {os.cpu_count()} CPUs" in limits


def test_what_is_asked_for_counts_more() -> None:
    assert sizing("taskset", "-c", "0", WEB_CONCURRENCY="3")[0] == "3: WEB_CONCURRENCY"
    both = {"WEB_CONCURRENCY": "3", "LAUNCHER_WORKERS": "5"}
    assert sizing("taskset", "-c", "0", **both)[0] == "5: LAUNCHER_WORKERS"


@pytest.mark.parametrize(("percent", "workers"), [(150, 2), (50, 1)])
def test_a_cluster_under_a_quota_has_that_many_workers(
    start_cluster: StartCluster, percent: int, workers: int
) -> None:
    with limited(percent) as prefix:
        cluster = start_cluster("echo:app", prefix=prefix).ready()
        status = cluster.status()
        reason = f"{workers}: cpu quota {percent / 100:.4g} of {os.cpu_count()} cores"
        assert (status["workers_wanted"], status["sizing"]) == (workers, reason)
        assert {ask(cluster.address) for _ in range(4)} == {*range(1, workers + 1)}
        assert f", workers: {reason}\n" in cluster.log
        assert json.loads(cluster.command("list", "--json").stdout)[0]["sizing"] == reason
        assert cluster.stop() == 0


def test_a_cluster_on_one_cpu_has_one_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", prefix=("taskset", "-c", "0")).ready()
    status = cluster.status()
    assert status["sizing"] == f"1: CPU affinity 1 of {os.cpu_count()} cores"
    assert [worker["id"] for worker in status["workers"]] == [1]


def test_a_cluster_without_limits_has_a_worker_per_cpu(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app").ready()
    assert cluster.status()["workers_wanted"] == int(sizing()[0].partition(":")[0])
    assert f"{len(cluster.workers())}: " in cluster.log
