"""How the rows of a screen are shared out: plain numbers, no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Want", "fitting", "share"]


class Want(NamedTuple):
    """The rows that a part of the screen asks for."""

    least: int
    most: int


def share(rows: int, wants: Sequence[Want]) -> list[int]:
    """So many rows each, at most ``rows`` together.

    First the least of each, as far as it goes, in order; then row by row to
    the one that has the least of those that want more.
    """
    given = []
    for want in wants:
        given.append(max(0, min(want.least, want.most, rows)))
        rows -= given[-1]
    while rows > 0:
        hungry = [index for index, want in enumerate(wants) if given[index] < want.most]
        if not hungry:
            break
        given[min(hungry, key=lambda index: given[index])] += 1
        rows -= 1
    return given


def fitting(widths: Sequence[int], ranks: Sequence[int], room: int, gap: int) -> list[int]:
    """The columns that fit, by index. Those of the highest rank go first; rank 0 never goes."""
    kept = list(range(len(widths)))
    while sum(widths[index] + gap for index in kept) - gap > room:
        least = max(kept, key=lambda index: (ranks[index], index))
        if ranks[least] == 0:
            break
        kept.remove(least)
    return kept


def window(count: int, selected: int, rows: int) -> range:
    """Which of ``count`` rows to show so that the selected one is among them."""
    first = max(0, min(selected - rows // 2, count - rows))
    return range(first, min(count, first + rows))
