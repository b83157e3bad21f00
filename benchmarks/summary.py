"""What matters most, as README's table: the app that waits first. Pure: medians in, text out."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Lookup, fastest

COLUMNS = {
    "ours": "launcher",
    "node": "Node + Express",
    "granian": "granian",
    "uwsgi": "uWSGI",
    "gthread": "gunicorn gthread",
    "bjoern": "bjoern",
}

NOTE = (
    "Where the app waits, uWSGI and gunicorn gthread have 4, 16 or 64 threads, granian those or as "
    "many as it takes by itself: whichever gives them the most requests per second."
)


@dataclass(frozen=True)
class Row:
    """One figure of every server."""

    title: str
    scenario: str
    figure: str
    unit: str = ""

    def cell(self, lookup: Lookup, server: str) -> str:
        value = fastest(lookup, self.scenario, server).get(self.figure)
        if value is None:
            return "\N{EM DASH}"
        digits = 1 if 0 < value < 10 else 0
        return f"{value:,.{digits}f}{self.unit}"


def _under_load(what: str, scenario: str) -> tuple[Row, ...]:
    return (
        Row(f"requests per second, {what}", scenario, "rate"),
        Row("— CPU per request", scenario, "cpu_us", " µs"),
        Row("— p99", scenario, "p99_ms", " ms"),
    )


ROWS = (
    *_under_load("every one waits 10 ms", "waits-10ms"),
    *_under_load("1 in 10 waits 50 ms", "mixed"),
    *_under_load("a row from PostgreSQL that takes 1 ms", "database-1ms"),
    Row("nothing waits: CPU per request, connections kept", "keepalive", "cpu_us", " µs"),
    Row("— CPU per request, one connection each", "close", "cpu_us", " µs"),
    Row("— p99 at 64 connections kept", "keepalive", "p99_ms", " ms"),
    Row("from `kill -9` of a worker to full strength", "recovery", "full_ms", " ms"),
    Row("requests lost per `kill -9`, under load", "kills", "failed_per_kill"),
    Row("memory with 4 workers", "memory", "pss_mib", " MiB"),
)


def markdown(lookup: Lookup) -> str:
    """The rows and columns of which something was measured; empty when that is nothing."""
    servers = [key for key in COLUMNS if any(fastest(lookup, row.scenario, key) for row in ROWS)]
    rows = [row for row in ROWS if any(fastest(lookup, row.scenario, key) for key in servers)]
    if not rows:
        return ""
    lines = [
        ["", *(COLUMNS[key] for key in servers)],
        ["---"] * (len(servers) + 1),
        *([row.title, *(row.cell(lookup, key) for key in servers)] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + f"\n\n{NOTE}\n"
