"""Percentiles from counts per bucket."""

from __future__ import annotations

import itertools
import math

import pytest

from launcher.ipc.notes import BOUNDS, BUCKETS
from launcher.policy.latency import percentile

SMALL = [10, 20, 40, 80]


def test_there_is_none_without_a_request() -> None:
    assert percentile([0] * 5, SMALL, 0.5) is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 1, 0, 0, 0], 1.0, 20.0),
        ([0, 2, 0, 0, 0], 0.5, 10 * math.sqrt(2)),
        ([0, 1, 0, 1, 0], 0.5, 20.0),
        ([0, 99, 0, 1, 0], 0.99, 20.0),
        ([0, 98, 0, 2, 0], 0.99, 40 * math.sqrt(2)),
        ([1, 0, 0, 0, 0], 0.99, 10.0),
        ([0, 0, 0, 0, 1], 0.5, 80.0),
    ],
)
def test_exact_figures(counts: list[int], share: float, expected: float) -> None:
    assert percentile(counts, SMALL, share) == pytest.approx(expected)


def test_a_share_that_rounding_took_above_all_is_the_last_bound() -> None:
    assert percentile([1, 0, 0, 0, 0], SMALL, 1.0000001) == 80.0


def test_it_never_falls_as_the_share_grows() -> None:
    counts = [7 * index % 5 for index in range(BUCKETS)]
    found = [percentile(counts, BOUNDS, share / 100) or 0.0 for share in range(1, 101)]
    assert found == sorted(found)
    assert len(counts) == len(BOUNDS) + 1


def test_the_buckets_tell_a_time_to_within_a_seventh() -> None:
    for low, high in itertools.pairwise(BOUNDS):
        middle = math.sqrt(low * high)
        assert high / middle < 8 / 7 * 1.02
    assert BOUNDS[0] == 10_000
    assert BOUNDS[-1] > 500e9
