"""The app that waits, and the app that computes: what a request does besides being served."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from benchmarks import postgres
from benchmarks.bench import Bench, Scenario, put_under_load, under_load
from benchmarks.figures import Figures
from benchmarks.load import Load
from benchmarks.peers import Peer
from benchmarks.servers.work import compute

APP = "benchmarks.servers.webapp:create_app()"
DATABASE_APP = "benchmarks.servers.database:create_app()"
DATABASE_NEEDS = ("postgres", "sqlalchemy", "psycopg")

WAITS = (1, 3, 10, 50)
"""Milliseconds that every request waits, each a scenario."""

SERVER_TIMES = (0, 1, 3)
"""Milliseconds a query waits in the database; pg_sleep can wait in whole ones alone."""

COMPUTES = 20
"""Milliseconds of pure Python."""

THINKS = 0.2
PAUSES = (100, 200, 300, 500, 1000)
"""A request thinks for so many milliseconds besides the 0.1 that Flask takes, then waits for so
many microseconds."""

SHOWN = (
    *("rate", "cpu_us", "p50_ms", "p99_ms", "p999_ms"),
    *("threads", "client_us", "others_percent", "errors"),
)
COMPARED = ("rate", "cpu_us")


def has_threads(peer: Peer) -> bool:
    """Whether it can be asked to wait."""
    return peer.waits


def _runs_flask(peer: Peer) -> bool:
    return peer.waits and peer.python


def _orientation(peer: Peer) -> bool:
    """Ours, and the gthreads that are at their best with short waits."""
    return peer.waits and (peer.ours or peer.key in ("gthread", "gthread-16"))


def waits(milliseconds: int) -> Scenario:
    """Every request sleeps."""
    return Scenario(
        f"waits-{milliseconds}ms",
        f"Waits {milliseconds} ms",
        under_load(Load(f"/wait/{milliseconds}"), app=APP),
        SHOWN,
        has_threads,
        COMPARED,
    )


def database(milliseconds: int) -> Scenario:
    """A row by key; another key each time, as no real app asks for one row alone."""
    keys = range(1, postgres.ROWS + 1)
    turns = tuple(f"/items/{key}/after/{milliseconds}" for key in keys)

    def measure(bench: Bench, peer: Peer) -> Figures:
        with bench.database.running() as url:
            told = {"BENCHMARK_DATABASE": url}
            return put_under_load(
                bench, peer, Load(turns=turns), app=DATABASE_APP, environment=told
            )

    return Scenario(
        f"database-{milliseconds}ms",
        f"Database, {milliseconds} ms" if milliseconds else "Database",
        measure,
        SHOWN,
        _runs_flask,
        COMPARED,
        DATABASE_NEEDS,
    )


def computes() -> Scenario:
    """Every request computes, the same for all servers. Each waits a second for its turn."""
    return Scenario(
        "computes",
        f"Computes {COMPUTES} ms",
        _computing(lambda: Load(f"/compute/{loops(COMPUTES)}", patience=10, least=15)),
        SHOWN,
        _runs_flask,
        COMPARED,
    )


def threshold(microseconds: int) -> Scenario:
    """Where running a request in the lead and handing the lead over first are worth the same."""
    return Scenario(
        f"threshold-{microseconds}us",
        f"0.3 ms, waits {microseconds / 1000:g}",
        _computing(lambda: Load(f"/think/{loops(THINKS)}/wait/{microseconds}")),
        SHOWN,
        _orientation,
        COMPARED,
        asked_for=True,
    )


def _computing(what: Callable[[], Load]) -> Callable[[Bench, Peer], Figures]:
    """The load is made when it is wanted: it depends on how fast this machine is."""
    return lambda bench, peer: put_under_load(bench, peer, what(), app=APP)


@cache
def loops(milliseconds: float) -> int:
    """How many turns of the loop take so long here, alone; the same in one run for all."""
    turns = 20_000
    fastest = min(_seconds(turns) for _ in range(25))
    return round(milliseconds / 1000 / fastest * turns)


def _seconds(turns: int) -> float:
    begun = time.thread_time()
    compute(turns)
    return time.thread_time() - begun


SCENARIOS = (
    *map(waits, WAITS),
    Scenario(
        "mixed",
        "1 in 10 waits 50 ms",
        under_load(Load(turns=("/clustered",) * 9 + ("/wait/50",)), app=APP),
        SHOWN,
        compared=COMPARED,
    ),
    *map(database, SERVER_TIMES),
    computes(),
    *map(threshold, PAUSES),
)
