"""Real clusters for tests: started from the command line, asked over their control socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from launcher.errors import LauncherError

T = TypeVar("T")

_NOT_YET = (AssertionError, OSError, LookupError, LauncherError, requests.RequestException)

ROOT = Path(__file__).parent.parent
APPS = Path(__file__).parent / "apps"


FULL_SIZE = os.environ.get("TEST_SIZE") == "full"
"""Whether loads are as large as is promised, which takes its time; ``.ci/run --long`` has it so."""


def sized(usual: T, full: T) -> T:
    """The size of a load: ``usual`` in the default tier, ``full`` in the long one."""
    return full if FULL_SIZE else usual


def eventually(check: Callable[[], T | None], within: float = 10.0) -> T:
    """The first true value that ``check`` gives; the test fails when there is none in time.

    Assertions, connection errors and clusters that do not answer count as not yet.
    """
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            value = check()
            if value:
                return value
            last = value
        except _NOT_YET as error:
            last = error
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:g} s; last: {last!r}")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> list[int]:
    """The living child processes of ``pid``."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return [child for child in found if alive(child)]


def title(pid: int) -> str:
    """What ps shows as its command."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()


def online(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The workers that serve, by slot; others of a status are starting or have not left yet."""
    return [worker for worker in status["workers"] if worker["status"] == "online"]


def pool_of(cluster: Cluster) -> int:
    """The process id of the one pool. Workers whose pool is dead are children too."""
    pools = [pid for pid in children(cluster.pid) if title(pid).startswith("launcher: pool")]
    assert len(pools) == 1
    return pools[0]


class Cluster:
    """A cluster that runs in the foreground of its own process."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        folder: Path = APPS,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        **environment: str,
    ) -> None:
        """``folder``: where it is started. ``prefix``: a command that starts it in its own place,
        such as taskset. Listens on a free port of 127.0.0.1 unless ``arguments`` say where.
        """
        self.home = home
        self.folder = folder
        self.log_path = home.parent / f"log-{time.monotonic_ns()}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in _OWN_VARIABLES},
            "LAUNCHER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.arguments = arguments
        where = () if {"--bind", "-b"} & {*arguments} else ("--port", "0")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "launcher", "run", *where, *arguments],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
            )
        self._pids: set[int] = set()

    @property
    def log(self) -> str:
        """Everything the cluster has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The primary's."""
        return self.process.pid

    def command(self, *arguments: str, within: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another command of the launcher against the same LAUNCHER_HOME."""
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """The object of ``list --json``, straight from the primary."""
        from launcher.control.client import call
        from launcher.state.home import Home

        with Home.open_existing({"LAUNCHER_HOME": str(self.home)}) or _nothing() as home:
            named = {_pid_of(home, name): name for name in home.names()}
            name = named[self.pid]
            status: dict[str, Any] = call(home, name, "status", {}, timeout=5)
        self._pids |= {w["pid"] for w in status["workers"] if w["pid"]}
        return status

    def workers(self) -> list[dict[str, Any]]:
        """Those that are online, by slot."""
        return online(self.status())

    def ready(self, within: float = 30) -> Cluster:
        """Wait until every wanted worker is online."""
        return eventually(self._if_ready, within)

    def _if_ready(self) -> Cluster | None:
        if self.process.poll() is not None:
            pytest.fail(f"the cluster ended with status {self.process.returncode}:\n{self.log}")
        with contextlib.suppress(Exception):
            status = self.status()
            if status["status"] == "online" and len(online(status)) == status["workers_wanted"]:
                return self
        return None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.status()["bind"][0].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """What to ask with requests."""
        host, port = self.address
        return f"http://{host}:{port}"

    def pids(self) -> set[int]:
        """Every process there is or was, as far as it was looked at."""
        pools = children(self.pid) if alive(self.pid) else []
        workers = [worker for pool in pools for worker in children(pool)]
        self._pids |= {self.pid, *pools, *workers}
        return self._pids

    def stop(self, within: float = 15) -> int:
        """End it and give its exit status; whatever is left after that is killed."""
        self.pids()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the cluster did not end within {within:g} s")
        finally:
            for pid in self._pids:
                if alive(pid) and _is_ours(pid):
                    os.kill(pid, signal.SIGKILL)


_OWN_VARIABLES = frozenset({"PORT", "WEB_CONCURRENCY", "NOTIFY_SOCKET", "LISTEN_FDS"})


def _is_ours(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _pid_of(home: Any, name: str) -> int | None:
    entry = home.entry(name)
    return entry.process.pid if entry and entry.process else None


def _nothing() -> Any:
    raise FileNotFoundError("no LAUNCHER_HOME yet")


StartCluster = Callable[..., Cluster]


def clusters(home: Path, failed: Callable[[], bool]) -> Iterator[StartCluster]:
    """Start clusters; stop them all afterwards, and show their logs when the test failed."""
    started: list[Cluster] = []

    def start(*arguments: str, **options: Any) -> Cluster:
        cluster = Cluster(home, *arguments, **options)
        started.append(cluster)
        return cluster

    yield start
    for cluster in started:
        if failed():
            print(f"--- log of {cluster.arguments}\n{cluster.log}")
        # Also when its primary is dead already: a worker may have been left behind.
        cluster.stop()


def json_of(text: str) -> Any:
    """What a command printed as JSON."""
    return json.loads(text)
