"""What the fault tests share: faults to inject, and how to see that nothing came of them."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.control.client import call
from launcher.state.home import Home
from tests.load import Books, Load
from tests.support import Cluster, eventually, online

THREADS = 4
"""Of each worker, where a test does not say otherwise."""


def name_of(cluster: Cluster) -> str:
    """What other commands call the cluster."""
    name: str = cluster.status()["name"]
    return name


def control(cluster: Cluster, verb: str, within: float = 60, **args: str) -> Any:
    """Ask over the control socket, as the commands do. LauncherError when it is refused."""
    with Home.open(cluster.environment) as home:
        return call(home, name_of(cluster), verb, args, timeout=within)


# Workers


def seasoned(cluster: Cluster) -> list[dict[str, Any]]:
    """The workers, when all that are wanted are online and each has answered a request."""
    status = cluster.status()
    ready = [worker for worker in online(status) if worker["requests"]]
    return ready if len(ready) == status["workers_wanted"] == len(status["workers"]) else []


def kill_one(cluster: Cluster, chance: random.Random, how: int = signal.SIGKILL) -> int:
    """Kill one of the workers while it serves; its id."""
    worker = chance.choice(eventually(lambda: seasoned(cluster), within=30))
    os.kill(worker["pid"], how)
    eventually(lambda: all(w["id"] != worker["id"] for w in cluster.status()["workers"]))
    worker_id: int = worker["id"]
    return worker_id


def pids(cluster: Cluster) -> dict[int, int]:
    """The processes of the workers that are online, by slot."""
    return {worker["slot"]: worker["pid"] for worker in cluster.workers()}


# Loads


def progress(load: Load, rounds: int = 2) -> None:
    """Wait until every client has had so many more answers, or one has failed.

    With two rounds, every request that is under way now is answered: so none
    of them runs when the next worker is killed, which may cost it its answer.
    """
    before = load.answers()

    def all_have_gone_on() -> bool:
        each = zip(load.answers(), before, strict=True)
        return all(now >= then + rounds for now, then in each)

    eventually(lambda: all_have_gone_on() or load.books.failures, within=60)


def assert_nothing_lost(books: Books) -> None:
    """Every request got its own 200, on connections that lasted."""
    assert books.failures == []
    assert books.answered > 0
    assert set(books.statuses) == {200}
    assert books.reconnects == 0


def posts_run(count_file: Path) -> Counter[str]:
    """How often the app ran each POST of a load, by token."""
    text = count_file.read_text() if count_file.exists() else ""
    return Counter(line.split()[0] for line in text.splitlines())


def assert_no_post_doubled(books: Books, count_file: Path) -> None:
    """No POST ran twice, and each that was answered 200 ran."""
    runs = posts_run(count_file)
    assert [token for token, times in runs.items() if times > 1] == []
    assert [token for token in books.confirmed if not runs[token]] == []
    assert books.confirmed, "POSTs were sent at all"


def refused(books: Books, method: str) -> dict[str, int]:
    """The accepted errors that requests of a method got: statuses by token."""
    return {
        what.removeprefix(f"{method} "): status
        for what, status in books.refused.items()
        if what.startswith(f"{method} ")
    }


# Processes


def freeze(pid: int) -> None:
    """Stop a process with SIGSTOP; on return none of its threads runs any more, or it is dead."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: {*_thread_states(pid)} <= {"T", "Z", "X"})


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does not run meanwhile."""
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _thread_states(pid: int) -> list[str]:
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process and what is behind each."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:
            continue
    return found


def settled_descriptors(pid: int) -> dict[int, str]:
    """As `descriptors`, once they have not changed for a while.

    The primary closes its side of a control connection a moment after the client has closed.
    """
    looks = [descriptors(pid)]

    def unchanged() -> bool:
        time.sleep(0.01)
        looks.append(descriptors(pid))
        return len(looks) > 20 and looks[-20:] == [looks[-1]] * 20

    eventually(unchanged)
    return looks[-1]


@contextmanager
def no_descriptors(pid: int, but: int = 0, settled: bool = True) -> Iterator[None]:
    """The process can open nothing more meanwhile, or so many, not even after closing some.

    ``settled``: first wait until it does not open and close any more.
    """
    kept = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = settled_descriptors(pid) if settled else descriptors(pid)
    free = [number for number in range(len(taken) + but + 1) if number not in taken]
    least = free[but] if but else min(free[0], 3)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, kept[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, kept)


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def session(leader: int) -> set[int]:
    """The processes, zombies included, of the session that ``leader`` began."""
    return {pid for pid in _all_pids() if _stat_field(pid, 3) == str(leader)}


def zombies_below(pid: int) -> list[int]:
    """The children of ``pid`` whose end nobody has collected."""
    children = (child for child in _all_pids() if _stat_field(child, 1) == str(pid))
    return [child for child in children if _stat_field(child, 0) == "Z"]


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat_field(pid: int, index: int) -> str:
    """A field of /proc/PID/stat after the name: 0 state, 1 parent, 3 session (proc(5))."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[index]
    return ""


def proportional_bytes(pid: int) -> int:
    """The memory of a process, where what is shared counts in parts (PSS)."""
    match = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert match
    return int(match[1]) * 1024


@contextmanager
def faulty_calls(pid: int, calls: str, fault: str, log: Path) -> Iterator[None]:
    """Some system calls of a process meet with a fault, as strace(1) has it after ``inject=``."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    inject = f"inject={calls}:{fault}"
    options = ["-e", f"trace={calls}", "-e", inject, "-o", str(log), "-p", str(pid)]
    tracer = subprocess.Popen([strace, *options], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr
    if "attached" not in tracer.stderr.readline():
        tracer.wait()
        pytest.skip("strace may not attach here")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()


def pass_time(seconds: float) -> None:
    """Where it is the time itself that is the fault, or that something is measured over."""
    time.sleep(seconds)


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
