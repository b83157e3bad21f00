"""The machine has run out of something: survived, and nothing is lost that need not be."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.cluster.tools import cpu_seconds
from tests.faults.tools import (
    assert_nothing_lost,
    control,
    descriptors,
    faulty_calls,
    name_of,
    no_descriptors,
    pass_time,
    pids,
    progress,
    settled_descriptors,
)
from tests.faults.wire import Wire, get
from tests.load import Load
from tests.support import ROOT, Cluster, StartCluster, alive, children, eventually, pool_of

FORKS = "?fork,?vfork,clone,?clone3"


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    return start_cluster("faulty:app", "-w", "2").ready()


def test_out_of_descriptors_connections_wait(cluster: Cluster) -> None:
    address = cluster.address
    with Load(address, keep_alive=8) as load, ExitStack() as stack:
        progress(load)
        with no_descriptors(cluster.pid):
            wires = [stack.enter_context(Wire(address)).get("/echo/x") for _ in range(20)]
            eventually(lambda: "cannot accept: Too many open files" in cluster.log)
            assert_no_spinning(cluster.pid)
            progress(load)
        assert [wire.reply().status for wire in wires] == [200] * 20
        books = load.stop()
    assert_nothing_lost(books)
    assert cluster.log.count("cannot accept") == 1
    assert cluster.log.count("accepting again") == 1


def assert_no_spinning(pid: int) -> None:
    """A process that has nothing to do now does little. Even of a busy machine it could have
    more than this."""
    before = cpu_seconds(pid)
    pass_time(1.5)
    assert cpu_seconds(pid) - before < 0.1


def test_out_of_descriptors_dead_workers_are_replaced(cluster: Cluster) -> None:
    address, before = cluster.address, pids(cluster)
    with Load(address, keep_alive=8) as load, ExitStack() as stack:
        progress(load)
        with no_descriptors(cluster.pid):
            wires = [stack.enter_context(Wire(address)).get("/echo/x") for _ in range(20)]
            eventually(lambda: "cannot accept" in cluster.log)
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: not any(map(alive, before.values())))
            assert_no_spinning(cluster.pid)
        assert [wire.reply().status for wire in wires] == [200] * 20
        eventually(cluster.ready)
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)
    assert not {*before.values()} & {*pids(cluster).values()}


def test_out_of_descriptors_a_health_check_is_made_later(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--health-path", "/echo/x").ready()
    victim, pool = pids(cluster)[0], pool_of(cluster)
    # With the dead worker's two there are three: one too few for a worker and the question.
    with no_descriptors(cluster.pid, but=1):
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: children(pool) and victim not in children(pool))
        assert_no_spinning(cluster.pid)
    cluster.ready()
    assert get(cluster.address).status == 200


def test_out_of_descriptors_the_control_socket_waits_too(cluster: Cluster) -> None:
    path = cluster.home / name_of(cluster) / "control.sock"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        with no_descriptors(cluster.pid):
            client.connect(str(path))
            client.sendall(b'{"verb": "status"}\n')
            assert_no_spinning(cluster.pid)
        assert b'"ok"' in client.recv(65536)


def test_out_of_descriptors_a_reload_is_refused_and_changes_nothing(cluster: Cluster) -> None:
    before, taken = pids(cluster), len(settled_descriptors(cluster.pid))
    with Load(cluster.address, keep_alive=8) as load:
        progress(load)
        # Enough for the call itself, not for a pool.
        with (
            no_descriptors(cluster.pid, but=1),
            pytest.raises(LauncherError, match="Too many open files"),
        ):
            control(cluster, "reload")
        assert pids(cluster) == before
        control(cluster, "reload")
        books = load.stop()
    assert_nothing_lost(books)
    eventually(lambda: len(descriptors(cluster.pid)) == taken)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_out_of_descriptors_passes_connections_on(
    start_cluster: StartCluster, workers: int
) -> None:
    cluster = start_cluster("echo:app", "-w", f"{workers}").ready()
    victim = pids(cluster)[0]
    with ExitStack() as stack:
        with no_descriptors(victim):
            wires = [stack.enter_context(Wire(cluster.address)).get("/echo/x") for _ in range(20)]
            if workers == 2:
                assert [wire.reply().status for wire in wires] == [200] * 20
            else:
                assert_no_spinning(cluster.pid)
        if workers == 1:
            assert [wire.reply().status for wire in wires] == [200] * 20
    assert pids(cluster)[0] == victim


# No more processes


def failing_forks(pid: int, times: int, log: Path) -> AbstractContextManager[None]:
    """The next ``times`` forks of a process fail with EAGAIN."""
    return faulty_calls(pid, FORKS, f"error=EAGAIN:when=1..{times}", log)


def test_a_worker_that_cannot_be_forked_is_forked_later(cluster: Cluster, tmp_path: Path) -> None:
    log, before = tmp_path / "strace", pids(cluster)
    with Load(cluster.address, keep_alive=8, one_shot=4) as load:
        progress(load)
        with failing_forks(pool_of(cluster), 3, log):
            os.kill(before[0], signal.SIGKILL)
            eventually(lambda: log.read_text().count("INJECTED") == 3)
            eventually(lambda: len(cluster.workers()) == 2, within=20)
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)
    assert cluster.log.count("could not be forked: Resource temporarily unavailable") == 3
    assert pids(cluster)[1] == before[1]


def test_a_pool_that_cannot_be_started_refuses_the_reload(cluster: Cluster, tmp_path: Path) -> None:
    before, taken = pids(cluster), len(settled_descriptors(cluster.pid))
    with Load(cluster.address, keep_alive=8, one_shot=4) as load:
        progress(load)
        with failing_forks(cluster.pid, 2, tmp_path / "strace"):
            for _ in range(2):
                with pytest.raises(LauncherError, match="Resource temporarily unavailable"):
                    control(cluster, "reload")
        assert pids(cluster) == before
        control(cluster, "reload")
        books = load.stop()
    assert_nothing_lost(books)
    eventually(lambda: len(children(cluster.pid)) == 1)
    eventually(lambda: len(descriptors(cluster.pid)) == taken)


# Nowhere to write to

OUTPUTS = {
    "disk full": ">/dev/full 2>&1",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "nobody reads": "2>&1 | true",
}


@pytest.mark.parametrize("where", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_log_that_cannot_be_written_is_no_reason_to_stop(
    start_cluster: StartCluster, where: str
) -> None:
    if "|" in where:
        prefix = ("bash", "-c", 'exec "$@" > >(true) 2>&1', "bash")
    else:
        prefix = ("sh", "-c", f'exec "$@" {where}', "sh")
    cluster = start_cluster("faulty:app", "-w", "2", "--access-log", prefix=prefix).ready()
    with Load(cluster.address, keep_alive=8, one_shot=4) as load:
        progress(load)
        assert get(cluster.address, "/raise").status == 500
        assert [get(cluster.address, "/print").status for _ in range(4)] == [200] * 4
        os.kill(pids(cluster)[0], signal.SIGKILL)
        progress(load)
        eventually(cluster.ready)
        control(cluster, "reload")
        assert get(cluster.address, "/raise").status == 500
        progress(load)
        books = load.stop()
    assert_nothing_lost(books)
    for pid in cluster.pids():
        if alive(pid):
            assert_harmless_standard_streams(pid)


def assert_harmless_standard_streams(pid: int) -> None:
    """Whoever writes a line to them does not write it to a connection or the scoreboard."""
    opened = descriptors(pid)
    for number in range(3):
        behind = opened.get(number, "/dev/null")
        assert behind in ("/dev/null", "/dev/full") or behind.startswith(("pipe:", "/")), behind
        assert "memfd" not in behind


# The clock on the wall

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *offset;

__attribute__((constructor)) static void find_offset(void) {
    int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return failed;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""

DAY = 86_400


class WallClock:
    """The time of day of one cluster, which can be set without touching the machine's."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.set(0)
        library = folder / "clock.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            pytest.skip("there is no C compiler to build a clock with")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), "-x", "c", "-"]
        subprocess.run(command, input=SHIM, text=True, check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}

    def set(self, offset: int) -> None:
        """So many seconds off the real time, for all processes at once."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(offset.to_bytes(8, "little", signed=True))


def day_shown(cluster: Cluster) -> str:
    return get(cluster.address, "/echo/x").fields["date"][5:16]


def day(offset: int) -> str:
    return time.strftime("%d %b %Y", time.gmtime(time.time() + offset))


@pytest.mark.long
def test_a_clock_that_jumps_a_day_changes_nothing(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    clock = WallClock(tmp_path)
    options = ("--timeout", "3", "--max-lifetime", "3600")
    cluster = start_cluster("faulty:app", "-w", "2", *options, **clock.environment).ready()
    with Load(cluster.address, keep_alive=16, one_shot=4, path="/echo/{token}?sleep=0.01") as load:
        for offset in (DAY, 0, -DAY):
            progress(load)
            before = pids(cluster)
            clock.set(offset)
            eventually(lambda offset=offset: day_shown(cluster) == day(offset))  # type: ignore[misc]
            progress(load)
            assert pids(cluster) == before
        control(cluster, "reload")
        started = time.monotonic()
        assert get(cluster.address, "/hang/sleep").status == 504
        assert 3 <= time.monotonic() - started < 10
        books = load.stop()
    assert_nothing_lost(books)
    restarts = {"crash": 0, "timeout": 1, "memory": 0, "recycle": 0, "reload": 1, "restart": 0}
    eventually(lambda: cluster.status()["restarts"] == restarts)
    assert 0 < cluster.status()["uptime"] < 3600


TELLS_THE_TIME = {
    "primary/log.py",
    "primary/insight/metrics.py",
    "primary/cluster/record.py",
    "worker/exchange/access_log.py",
    "worker/exchange/plain_response.py",
}
"""What writes the time of day into logs, reports and responses, and decides nothing by it."""

GOES_BY_THE_TIME = {"primary/timetable.py"}
"""What is to happen at a time of day: ``--reload-at``."""


def test_nothing_is_decided_by_the_wall_clock() -> None:
    asks = re.compile(r"\btime\.(time|time_ns|localtime|gmtime|strftime)\(|\bdatetime\b")
    found = set()
    for folder in ("policy", "primary", "ipc", "pool", "worker"):
        for path in (ROOT / "launcher" / folder).rglob("*.py"):
            if asks.search(path.read_text().replace("from datetime import timedelta", "")):
                found.add(str(path.relative_to(ROOT / "launcher")))
    assert found == TELLS_THE_TIME | GOES_BY_THE_TIME
