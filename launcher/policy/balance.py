"""Spreading keep-alive connections, which otherwise stay where they are, over a new worker."""

from __future__ import annotations

from collections.abc import Sequence


def surplus(connections: Sequence[int]) -> list[int]:
    """How many connections each worker should return, given how many each has.

    None when all are within one of the mean; the returned ones are dealt to the worker with
    the fewest.
    """
    if not connections:
        return []
    fair = -(-sum(connections) // len(connections))
    return [max(0, count - fair) for count in connections]
