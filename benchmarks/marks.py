"""The marks to beat, and whether they were. Pure: medians in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Lookup, best, fastest, of_variants

BEST = "'s best"
FASTEST = "'s fastest"


@dataclass(frozen=True)
class Mark:
    """``figure`` of ours is at most (or at least) ``factor`` times the reference's, ``plus``.

    ``reference`` is a peer, or empty for an absolute limit: ``plus`` alone. With `BEST` behind
    it the best figure of that server with any number of threads; with `FASTEST` the figure of
    the one with the most requests per second.
    """

    scenario: str
    figure: str
    reference: str = ""
    factor: float = 1.0
    plus: float = 0.0
    least: bool = False
    base: str = ""
    """The reference's figure where it has another name."""
    subject: str = "ours"
    """Which variant of ours."""

    @property
    def text(self) -> str:
        """As one would say it."""
        relation = "at least" if self.least else "at most"
        subject = "" if self.subject == "ours" else f" of {self.subject}"
        start = f"{self.scenario} {self.figure}{subject} {relation}"
        if not self.reference:
            return f"{start} {self.plus:,g}"
        factor = f"{self.factor:g} x " if self.factor != 1 else ""
        plus = f" + {self.plus:g}" if self.plus else ""
        base = f"'s {self.base}" if self.base else ""
        return f"{start} {factor}{self.reference}{base}{plus}"


@dataclass(frozen=True)
class Verdict:
    """A mark and how it went."""

    mark: Mark
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.mark.least else self.value <= self.limit


CLIENTS = 64

GTHREAD_BEST = f"gthread{BEST}"
GTHREAD_FASTEST = f"gthread{FASTEST}"


def _waits(milliseconds: int, than_gthread: float, than_node: float) -> tuple[Mark, ...]:
    """Every request waits so long."""
    scenario = f"waits-{milliseconds}ms"
    return (
        Mark(scenario, "rate", GTHREAD_BEST, than_gthread, least=True),
        Mark(scenario, "rate", "node", than_node, least=True),
        Mark(scenario, "cpu_us", GTHREAD_BEST, 0.55),
        Mark(scenario, "cpu_us", "node", 1.5),
        Mark(scenario, "p99_ms", "node"),
    )


def _database(milliseconds: int) -> tuple[Mark, ...]:
    scenario = f"database-{milliseconds}ms"
    return (
        Mark(scenario, "rate", GTHREAD_FASTEST, 1.4, least=True),
        Mark(scenario, "cpu_us", GTHREAD_FASTEST, 0.65),
        Mark(scenario, "p99_ms", GTHREAD_FASTEST),
    )


MARKS = (
    *_waits(1, 1.5, 0.7),
    *_waits(3, 1.5, 0.85),
    *_waits(10, 1.6, 0.95),
    # What so many clients can get, and what 8 threads can give.
    Mark("waits-50ms", "rate", plus=0.95 * CLIENTS / 0.050, least=True),
    Mark("waits-10ms", "rate", plus=0.95 * 8 / 0.010, least=True, subject="ours-4threads"),
    Mark("mixed", "rate", "node", least=True),
    Mark("mixed", "p99_ms", "node", 1.1),
    Mark("mixed", "cpu_us", "node"),
    *_database(1),
    *_database(3),
    Mark("computes", "rate", "ours-4threads", 0.97, least=True),
    Mark("computes", "p99_ms", GTHREAD_BEST),
    Mark("keepalive", "cpu_us", "bjoern", 1.25),
    Mark("keepalive", "cpu_us", "granian"),
    Mark("keepalive", "cpu_us", "gthread", 0.40),
    Mark("keepalive", "cpu_us", "node"),
    Mark("keepalive", "rate", "granian", least=True),
    Mark("keepalive", "p99_ms", "gthread"),
    Mark("keepalive", "p99_ms", "node"),
    Mark("keepalive", "rate", "ours-1thread", 0.95, least=True),
    Mark("keepalive", "p99_ms", "ours-1thread", 1.5),
    Mark("close", "cpu_us", "granian"),
    Mark("close", "cpu_us", "gthread", 0.6),
    Mark("close", "cpu_us", "node", 0.6),
    Mark("close", "cpu_us", "ours-kernel", 1.25),
    Mark("primary", "per_second", plus=15_000, least=True),
    Mark("primary", "cost_us_10000", "ours", 1.25, base="cost_us_10"),
    Mark("startup", "first_ms", "gthread", 1.5),
    Mark("recovery", "full_ms", "gthread"),
    Mark("recovery", "full_ms", "sync"),
    Mark("recovery", "full_ms", "node"),
    Mark("recovery", "full_ms", "pm2"),
    Mark("memory", "pss_mib", "gthread", plus=20),
    Mark("kills", "failed"),
    Mark("reloads", "failed"),
)
"""What is promised: that an app may wait, close to C on the request path where it does not, a
quick start, and that no request is lost."""


def judge(lookup: Lookup, marks: tuple[Mark, ...] = MARKS) -> list[Verdict]:
    """The marks whose figures were measured."""
    return [verdict for mark in marks if (verdict := _judge(lookup, mark))]


def _judge(lookup: Lookup, mark: Mark) -> Verdict | None:
    value = lookup(mark.scenario, mark.subject).get(mark.figure)
    base = _base(lookup, mark) if mark.reference else 0.0
    if value is None or base is None:
        return None
    return Verdict(mark, value, mark.factor * base + mark.plus)


def _base(lookup: Lookup, mark: Mark) -> float | None:
    """The reference's figure."""
    figure = mark.base or mark.figure
    server, quote, which = mark.reference.partition("'")
    if quote + which == FASTEST:
        return fastest(lookup, mark.scenario, server).get(figure)
    if quote + which == BEST:
        found = of_variants(lookup, mark.scenario, server)
        return best(figure, (medians.get(figure) for medians in found))
    return lookup(mark.scenario, mark.reference).get(figure)
