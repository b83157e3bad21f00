"""Any fault, in any order, two at a time now and then: afterwards all is as it should be.

``FAULT_SEED=n`` takes the same walk again; a walk that fails tells its seed.
``FAULT_SECONDS=n`` takes a longer one.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.faults.deploys import APP, BAD, ENVIRONMENT, Site, good
from tests.faults.tools import (
    assert_no_post_doubled,
    control,
    frozen,
    no_descriptors,
    pass_time,
    pids,
    progress,
    session,
    settled_descriptors,
    zombies_below,
)
from tests.faults.wire import Wire, get
from tests.load import Load
from tests.support import Cluster, StartCluster, alive, children, eventually, pool_of, sized

SECONDS = float(os.environ.get("FAULT_SECONDS") or sized(6, 60))

OWN_SESSION = (
    sys.executable,
    "-c",
    "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Starts the cluster in a session of its own: whoever is in it belongs to it."""

WAITS = "/echo/{token}?sleep=0.2"
"""Threads of every worker are with these all the time."""

PER_WORKER = 2
"""Descriptors of the primary: the channel and the pidfd."""


class Walk:
    """A cluster, what may befall it, and what must hold afterwards."""

    def __init__(self, cluster: Cluster, site: Site, chance: random.Random) -> None:
        self.cluster = cluster
        self.address = cluster.address
        self.chance = chance
        self.steps: list[str] = []
        self._site = site
        self._base = len(settled_descriptors(cluster.pid)) - PER_WORKER * 2

    # Faults

    def kill_a_worker(self) -> None:
        how = self.chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
        self._kill([self._worker()], how)

    def kill_all_workers(self) -> None:
        self._kill([*pids(self.cluster).values()])

    def kill_the_pool(self) -> None:
        self._kill(children(self.cluster.pid)[:1])

    def _worker(self) -> int:
        """The pid of one that is online, when there is one: another fault may be at work."""
        return self.chance.choice(eventually(lambda: [*pids(self.cluster).values()], within=30))

    def _kill(self, victims: list[int], how: int = signal.SIGKILL) -> None:
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, how)
        eventually(lambda: not any(map(alive, victims)), within=30)

    def freeze_a_worker_and_kill_it(self) -> None:
        victim = self._worker()
        with suppress(ProcessLookupError), frozen(victim):
            pass_time(0.2)
            self._kill([victim])

    def freeze_somebody_for_a_moment(self) -> None:
        everybody = [self.cluster.pid, *children(self.cluster.pid), *pids(self.cluster).values()]
        with suppress(ProcessLookupError), frozen(self.chance.choice(everybody)):
            pass_time(0.5)

    def reload(self) -> None:
        self._site.deploy(good("next"))
        control(self.cluster, "reload")

    def reload_badly(self) -> None:
        kinds = [kind for kind in BAD if kind not in ("hang", "failing health check")]
        self._site.deploy(BAD[self.chance.choice(kinds)][0])
        with pytest.raises(LauncherError):
            control(self.cluster, "reload")
        self._site.deploy(good("next"))

    def restart(self) -> None:
        control(self.cluster, "restart")

    def scale(self) -> None:
        now = self.cluster.status()["workers_wanted"]
        to = self.chance.choice([number for number in (1, 2, 3, 4) if number != now])
        control(self.cluster, "scale", to=f"{to}")

    def hang(self) -> None:
        assert get(self.address, "/hang/sleep").status == 504

    def run_out_of_descriptors(self) -> None:
        with no_descriptors(self.cluster.pid, settled=False), ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(Wire(self.address)).get("/echo/x")
            pass_time(0.3)

    def break_off(self) -> None:
        for _ in range(20):
            sent = self.chance.choice([b"", b"GET", b"POST /length HTTP/1.1\r\nHost: x\r\n"])
            Wire(self.address).send(sent + b"Content-Length: 99999\r\n\r\nx").close()
            Wire(self.address).get("/big/3000000").close()

    def talk_nonsense(self) -> None:
        with Wire(str(self.cluster.home / "release" / "control.sock")) as wire:
            wire.send(self.chance.randbytes(2000) + b"\n").sock.recv(1)
        with Wire(self.address) as wire:
            wire.send(self.chance.randbytes(2000) + b"\r\n\r\n").sock.recv(1)

    # Steps

    def step(self) -> None:
        """One fault, or two at once, under load; then look."""
        faults = self._choose()
        self.steps.append(" + ".join(fault.__name__ for fault in faults))
        with self._load("quick", "/echo/{token}") as quick, self._load("waits", WAITS) as waits:
            progress(quick, 1)
            progress(waits, 1)
            self._suffer(faults)
            progress(quick, 1)
            progress(waits, 1)
            for books in (quick.stop(), waits.stop()):
                assert books.failures == []
                if len(faults) == 1:
                    assert not [what for what in books.refused if what.startswith("GET")]
                assert_no_post_doubled(books, Path(self.cluster.environment["COUNT_FILE"]))
        self._look()

    def _load(self, name: str, path: str) -> Load:
        accept, name = frozenset({200, 502}), f"{name}{len(self.steps)}-"
        return Load(self.address, 8, 4, post_every=3, accept=accept, path=path, name=name)

    def _choose(self) -> list[Callable[[], None]]:
        faults = [
            self.kill_a_worker, self.kill_all_workers, self.kill_the_pool,
            self.freeze_a_worker_and_kill_it, self.freeze_somebody_for_a_moment,
            self.reload, self.reload_badly, self.restart, self.scale,
            self.hang, self.run_out_of_descriptors, self.break_off, self.talk_nonsense,
        ]  # fmt: skip
        return self.chance.sample(faults, self.chance.choice([1, 1, 2]))

    def _suffer(self, faults: list[Callable[[], None]]) -> None:
        if len(faults) == 1:
            faults[0]()
            return
        with ThreadPoolExecutor() as at_once:
            for done in [at_once.submit(fault) for fault in faults]:
                # A change may be refused because of the other fault; then it is not made.
                with suppress(LauncherError, pytest.fail.Exception, OSError, EOFError):
                    done.result(60)
        self._site.deploy(good("next"))

    # What must hold

    def _look(self) -> None:
        self.cluster.ready(within=40)
        assert get(self.address, "/echo/x").status == 200
        eventually(self._all_are_there)
        status = self.cluster.status()
        expected = self._base + PER_WORKER * status["workers_wanted"]
        eventually(lambda: len(settled_descriptors(self.cluster.pid)) == expected)

    def _all_are_there(self) -> bool:
        status = self.cluster.status()
        workers = [worker["pid"] for worker in status["workers"]]
        assert status["connections"] == 0
        assert len(workers) == status["workers_wanted"], "nobody lingers"
        pool = pool_of(self.cluster)
        assert session(self.cluster.pid) == {self.cluster.pid, pool, *workers}, "orphans"
        assert zombies_below(self.cluster.pid) == zombies_below(pool) == []
        return True


def test_a_random_walk(start_cluster: StartCluster, tmp_path: Path) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))
    print(f"FAULT_SEED={seed}")
    site = Site(tmp_path / "site")
    times = ("--timeout", "4", "--boot-timeout", "20", "--graceful-timeout", "10")
    options = ("-w", "2", "--threads", "32", *times)
    environment = ENVIRONMENT | {"COUNT_FILE": str(tmp_path / "count")}
    cluster = start_cluster(APP, *options, folder=site.folder, prefix=OWN_SESSION, **environment)
    walk = Walk(cluster.ready(), site, random.Random(seed))
    started = time.monotonic()
    try:
        while time.monotonic() < started + SECONDS:
            walk.step()
    finally:
        print(f"FAULT_SEED={seed}, {len(walk.steps)} steps: {', '.join(walk.steps)}")
    assert cluster.stop() == 0
    assert session(cluster.pid) == set()
