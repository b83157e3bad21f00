"""How many connections workers give back, so that a new one gets its share."""

from __future__ import annotations

import pytest

from launcher.policy.balance import surplus


@pytest.mark.parametrize(
    ("connections", "returned"),
    [
        ([], []),
        ([0, 0], [0, 0]),
        ([3, 3, 3], [0, 0, 0]),
        ([4, 3, 3], [0, 0, 0]),
        ([6, 6, 0], [2, 2, 0]),
        ([7, 0, 0], [4, 0, 0]),
    ],
)
def test_what_is_above_the_mean_is_returned(connections: list[int], returned: list[int]) -> None:
    assert surplus(connections) == returned
