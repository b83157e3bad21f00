"""What is measured. Each scenario starts a server of its own and gives figures by name.

First the app that waits, which is what most apps are; then what a request costs where nothing
waits, and what becomes of it when workers are killed or replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from benchmarks import accounting, load, probe, waiting
from benchmarks.bench import MIB, WARM_UP, Bench, Scenario, under_load
from benchmarks.figures import Figures
from benchmarks.load import Load
from benchmarks.peers import Peer
from benchmarks.server import Server
from benchmarks.strict import StrictClient

BARE_APP = "benchmarks.servers.webapp:bare"

KILL_EVERY = 0.5
"""Seconds between two kills under load."""

RELOADS = 3

IDLE = (10, 1_000, 10_000)
"""Open connections at which the primary's work is measured."""


def startup(bench: Bench, peer: Peer) -> Figures:
    """From before the spawn to the first 200, and to answers from all workers."""
    with bench.serve(peer):
        pass  # not counted: the machine's caches, and Python's, are filled by it
    begun = time.monotonic()
    with bench.serve(peer) as server:
        server.wait_for_workers()
        return {"first_ms": server.startup * 1e3, "all_ms": (time.monotonic() - begun) * 1e3}


def memory(bench: Bench, peer: Peer) -> Figures:
    """PSS of all processes with 4 workers, after each has worked a little."""
    with bench.serve(peer, workers=4) as server:
        server.wait_for_workers()
        load.run(Load(), server.port, WARM_UP)
        return {
            "pss_mib": server.memory() / MIB,
            "processes": len(server.processes()),
        }


def recovery(bench: Bench, peer: Peer) -> Figures:
    """From the kill of a worker to answers from as many workers as before, nothing else to do."""
    with bench.serve(peer) as server:
        before = server.wait_for_workers()
        victim = min(before)
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        server.wait_for_workers(without=frozenset({victim}))
        return {"full_ms": (time.monotonic() - begun) * 1e3}


def kills(bench: Bench, peer: Peer) -> Figures:
    """Requests that fail because workers are killed, one every half second, under load."""
    with bench.serve(peer) as server, StrictClient(server.port) as client:
        server.wait_for_workers()
        killed = 0
        deadline = time.monotonic() + 2 * bench.seconds
        while (now := time.monotonic()) < deadline:
            killed += _kill_one(server)
            time.sleep(max(now + KILL_EVERY - time.monotonic(), 0))
    return _failures(client, killed, "kill")


def _kill_one(server: Server) -> bool:
    """Kill whichever worker answers first; False when none does."""
    ours = {stat.pid for stat in server.processes()}
    for pid in probe.pids(server.port, 1):
        if pid in ours:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def reloads(bench: Bench, peer: Peer) -> Figures:
    """Requests that fail because of reloads under load."""
    took = 0.0
    with bench.serve(peer) as server:
        pids = frozenset(server.wait_for_workers())
        with StrictClient(server.port) as client:
            time.sleep(KILL_EVERY)
            for _ in range(RELOADS):
                begun = time.monotonic()
                server.reload()
                pids |= server.wait_for_workers(without=pids)
                took += time.monotonic() - begun
                time.sleep(KILL_EVERY)
    return {**_failures(client, RELOADS, "reload"), "took_ms": took / RELOADS * 1e3}


def _failures(client: StrictClient, times: int, what: str) -> Figures:
    books = client.books
    return {
        f"failed_per_{what}": books.failed / max(times, 1),
        f"{what}s": times,
        "failed": books.failed,
        "requests": books.answered + books.failed,
        **{f"failed: {kind}": count for kind, count in sorted(books.failures.items())},
    }


def primary(bench: Bench, peer: Peer) -> Figures:
    """What one connection costs the primary, alone on a core, with more and more others open.

    The workers run the smallest app there is, on the other cores with the clients: their
    cost is not counted, and the rate achieved is theirs. What the primary could deal is
    a second over its cost per connection.
    """
    figures: Figures = {}
    with contextlib.ExitStack() as open_now, bench.serve(peer, "/", app=BARE_APP) as server:
        others = _pin(server)
        opened = 0
        load.run(Load("/", load.CLOSE), server.port, WARM_UP, others)
        for wanted in IDLE:
            _open_idle(open_now, server.port, wanted - opened)
            opened = wanted
            cost, rate = _dealing(bench, server, others)
            figures |= {f"cost_us_{wanted}": cost, f"rate_{wanted}": rate}
    return {"per_second": 1e6 / figures[f"cost_us_{IDLE[0]}"], **figures}


def _dealing(bench: Bench, server: Server, others: list[str]) -> tuple[float, float]:
    """The primary's µs per connection, and how many there were per second."""
    before = accounting.exact_cpu_seconds(server.pid)
    outcome = load.run(Load("/", load.CLOSE), server.port, bench.seconds, others)
    used = accounting.exact_cpu_seconds(server.pid) - before
    if outcome.errors.total:
        raise server.error(f"dealt with errors: {outcome.errors}")
    return used * 1e6 / max(outcome.requests, 1), outcome.rate


def _pin(server: Server) -> list[str]:
    """The primary gets a core, all its other processes the rest; how wrk gets those too."""
    first, *rest = sorted(os.sched_getaffinity(0))
    if not rest:
        return []
    for process in server.processes():
        cores = {first} if process.pid == server.pid else set(rest)
        for task in os.listdir(f"/proc/{process.pid}/task"):
            os.sched_setaffinity(int(task), cores)
    return ["taskset", "--cpu-list", ",".join(map(str, rest))]


def _open_idle(stack: contextlib.ExitStack, port: int, count: int) -> None:
    """Connections that each have had an answer and then rest."""
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        connection.sendall(request)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise ValueError("an idle connection did not get its answer")


def _rests(peer: Peer) -> bool:
    return peer.rests


def _respawns(peer: Peer) -> bool:
    return peer.rests and peer.respawns


def _reloads(peer: Peer) -> bool:
    return peer.rests and peer.reload is not None


def _deals(peer: Peer) -> bool:
    return peer.rests and peer.deals


_LOAD = (
    *("cpu_us", "rate", "p50_ms", "p99_ms", "p999_ms"),
    *("pss_mib", "client_us", "others_percent", "errors"),
)
_PRIMARY = ("per_second", *(f"{what}_{idle}" for what in ("cost_us", "rate") for idle in IDLE))

SCENARIOS = (
    *waiting.SCENARIOS,
    Scenario("keepalive", "Keep-alive", under_load(Load()), _LOAD, _rests),
    Scenario(
        "close", "Connection per request", under_load(Load(headers=load.CLOSE)), _LOAD, _rests
    ),
    Scenario("browser", "Browser's head", under_load(Load(headers=load.BROWSER)), _LOAD, _rests),
    Scenario("startup", "Spawn to first response", startup, ("first_ms", "all_ms"), _rests),
    Scenario("memory", "4 workers", memory, ("pss_mib", "processes"), _rests),
    Scenario("recovery", "Kill to full strength", recovery, ("full_ms",), _respawns),
    Scenario(
        "kills",
        "Killed under load",
        kills,
        ("failed_per_kill", "kills", "failed", "requests"),
        _respawns,
    ),
    Scenario(
        "reloads",
        "Reloaded under load",
        reloads,
        ("failed_per_reload", "reloads", "failed", "requests", "took_ms"),
        _reloads,
    ),
    Scenario("primary", "The primary alone", primary, _PRIMARY, _deals),
)

BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}

FAMILIES = tuple(dict.fromkeys(scenario.family for scenario in SCENARIOS))
"""Each name means all of its sizes."""

BY_SIZE = tuple(key for key in BY_KEY if key not in FAMILIES)
"""The keys of those that there are in several sizes."""
