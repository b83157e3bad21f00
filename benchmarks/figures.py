"""Figures by name, which way each of them is better, and which of a server's variants counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.peers import variants

Figures = dict[str, float]
"""What a scenario found, by name; the names are the keys of the JSON file."""

Lookup = Callable[[str, str], Figures]
"""The medians of a scenario and a peer; empty when it was not measured."""

MORE_IS_BETTER = frozenset({"rate", "per_second"})


def best(name: str, values: Iterable[float | None]) -> float | None:
    """The best of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if name in MORE_IS_BETTER else min(known)


def of_variants(lookup: Lookup, scenario: str, family: str) -> list[Figures]:
    """Of all variants of a server that were measured."""
    return [found for key in variants(family) if (found := lookup(scenario, key))]


def fastest(lookup: Lookup, scenario: str, family: str) -> Figures:
    """Of the variant with the most requests per second; empty when none was measured."""
    measured = of_variants(lookup, scenario, family)
    return max(measured, key=lambda found: found.get("rate", 0.0), default={})
