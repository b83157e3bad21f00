"""What every scenario is made of: a server under test, and a load that it is put under."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import accounting, load
from benchmarks.figures import Figures
from benchmarks.load import Load, Outcome
from benchmarks.peers import Peer, Setup
from benchmarks.postgres import Database
from benchmarks.server import Server, free_port
from benchmarks.toolbox import Toolbox

WARM_UP = 1.0
MIB = 1 << 20


@dataclass(frozen=True)
class Bench:
    """What every scenario needs: the tools, a folder for everything, and how long to measure."""

    tools: Toolbox
    folder: Path
    database: Database
    seconds: float = 5.0

    @contextlib.contextmanager
    def serve(self, peer: Peer, probe: str = "/clustered", **setup: Any) -> Iterator[Server]:
        """A running server. ``setup``: what differs from the defaults of `Setup`."""
        tools = self.tools
        if peer.source:
            tools = dataclasses.replace(tools, source=peer.source)
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as own:
            told = Setup(tools, free_port(), Path(own), **setup)
            with Server(peer, told, self.folder, probe) as server:
                yield server


Measure = Callable[[Bench, Peer], Figures]


@dataclass(frozen=True)
class Scenario:
    """One thing to measure, and of whom it can be asked."""

    key: str
    """Those that differ in a size alone are one family: ``waits-1ms`` and ``waits-10ms``."""
    title: str
    measure: Measure
    shows: tuple[str, ...]
    """The figures of its table, in order."""
    applies: Callable[[Peer], bool] = lambda _: True
    compared: tuple[str, ...] = ()
    """The figures that are set against those of others; the first of its table if not said."""
    needs: tuple[str, ...] = ()
    """What has to be installed besides the peer: programs, and packages beside the peer's."""
    asked_for: bool = False
    """Whether it is measured only when it is named."""

    @property
    def family(self) -> str:
        return self.key.partition("-")[0]


def under_load(what: Load, **setup: Any) -> Measure:
    """Put a load on it: CPU per request, rate, latency, errors, memory afterwards."""

    def measure(bench: Bench, peer: Peer) -> Figures:
        return put_under_load(bench, peer, what, **setup)

    return measure


def put_under_load(bench: Bench, peer: Peer, what: Load, **setup: Any) -> Figures:
    """The same, now. The load of the warm-up is not counted."""
    with bench.serve(peer, **setup) as server:
        server.wait_for_workers()
        load.run(what, server.port, WARM_UP)
        before = Meter.read(bench, server)
        outcome = load.run(what, server.port, max(bench.seconds, what.least))
        used = Meter.read(bench, server) - before
        return {
            **figures_of(outcome, used.server),
            "client_us": used.client * 1e6 / max(outcome.requests, 1),
            "others_percent": used.others_percent,
            "pss_mib": server.memory() / MIB,
            "threads": max(map(accounting.threads, server.processes()), default=0),
        }


@dataclass(frozen=True)
class Meter:
    """CPU seconds until now, or between two readings."""

    server: float
    client: float
    """Of all processes that this one has waited for: while a load is measured, the load's."""
    database: float
    everyone: float
    """Of all processes of this machine, and what its host took away."""
    clock: float
    """The time on all CPUs."""

    @staticmethod
    def read(bench: Bench, server: Server) -> Meter:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        everyone = accounting.cpu_seconds(accounting.all_stats().values())
        return Meter(
            server=server.cpu_seconds(),
            client=used.ru_utime + used.ru_stime,
            database=bench.database.cpu_seconds(),
            everyone=everyone + accounting.stolen_seconds(),
            clock=time.monotonic() * len(os.sched_getaffinity(0)),
        )

    def __sub__(self, before: Meter) -> Meter:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(before)
        return Meter(*(now - then for now, then in zip(mine, theirs, strict=True)))

    @property
    def others_percent(self) -> float:
        """What had nothing to do with the measurement, of all CPUs."""
        others = self.everyone - self.server - self.client - self.database
        return max(others, 0.0) / self.clock * 100


def figures_of(outcome: Outcome, cpu_seconds: float) -> Figures:
    """The figures of one run of wrk."""
    return {
        "cpu_us": cpu_seconds * 1e6 / max(outcome.requests, 1),
        "rate": outcome.rate,
        "p50_ms": outcome.p50,
        "p99_ms": outcome.p99,
        "p999_ms": outcome.p999,
        "requests": outcome.requests,
        "errors": outcome.errors.total,
    }
