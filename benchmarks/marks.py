"""The marks to beat, and whether they were. Pure: medians in, verdicts out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Lookup = Callable[[str, str], dict[str, float]]
"""The medians of a scenario and a peer; empty when it was not measured."""


@dataclass(frozen=True)
class Mark:
    """``figure`` of ours is at most (or at least) ``factor`` times the reference's, ``plus``.

    ``reference`` is a peer, or empty for an absolute limit: ``plus`` alone.
    """

    scenario: str
    figure: str
    reference: str = ""
    factor: float = 1.0
    plus: float = 0.0
    least: bool = False
    base: str = ""
    """The reference's figure where it has another name."""

    @property
    def text(self) -> str:
        """As one would say it."""
        relation = "at least" if self.least else "at most"
        if not self.reference:
            return f"{self.scenario} {self.figure} {relation} {self.plus:,g}"
        factor = f"{self.factor:g} x " if self.factor != 1 else ""
        plus = f" + {self.plus:g}" if self.plus else ""
        base = f"'s {self.base}" if self.base else ""
        return f"{self.scenario} {self.figure} {relation} {factor}{self.reference}{base}{plus}"


@dataclass(frozen=True)
class Verdict:
    """A mark and how it went."""

    mark: Mark
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.mark.least else self.value <= self.limit


MARKS = (
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
"""What is promised: close to C on the request path, a quick start, and that no request is lost."""


def judge(lookup: Lookup, marks: tuple[Mark, ...] = MARKS) -> list[Verdict]:
    """The marks whose figures were measured."""
    return [verdict for mark in marks if (verdict := _judge(lookup, mark))]


def _judge(lookup: Lookup, mark: Mark) -> Verdict | None:
    value = lookup(mark.scenario, "ours").get(mark.figure)
    base: float | None = 0.0
    if mark.reference:
        base = lookup(mark.scenario, mark.reference).get(mark.base or mark.figure)
    if value is None or base is None:
        return None
    return Verdict(mark, value, mark.factor * base + mark.plus)
