"""Figures by name, and which way each of them is better."""

from __future__ import annotations

from collections.abc import Iterable

Figures = dict[str, float]
"""What a scenario found, by name; the names are the keys of the JSON file."""

MORE_IS_BETTER = frozenset({"rate", "per_second"})


def best(name: str, values: Iterable[float | None]) -> float | None:
    """The best of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if name in MORE_IS_BETTER else min(known)
