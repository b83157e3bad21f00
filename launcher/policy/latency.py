"""How long requests take, from how many took how long."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(counts: Sequence[int], bounds: Sequence[int], share: float) -> float | None:
    """What the fastest ``share`` of the requests did not exceed; None if there were none.

    ``counts``: one per bucket; ``bounds``: where each bucket but the first
    begins, above 0 and growing. Within a bucket the requests are
    taken to be spread evenly on a logarithmic scale, which is as near as it gets.
    """
    total = sum(counts)
    if total <= 0:
        return None
    before, wanted = 0, share * total
    for bucket, count in enumerate(counts):
        if count and before + count >= wanted:
            return _within(bounds, bucket, (wanted - before) / count)
        before += count
    return float(bounds[-1])


def _within(bounds: Sequence[int], bucket: int, part: float) -> float:
    """Where in a bucket. The first and the last have one bound only: that is the answer there."""
    low = bounds[max(0, bucket - 1)]
    high = bounds[min(bucket, len(bounds) - 1)]
    return float(low * (high / low) ** part)
