"""How long a body may take: a credit that grows with what comes, and a limit on silence."""

from __future__ import annotations

import pytest

from launcher.policy.serving.patience import Patience

PATIENCE = Patience(body=20, slowest=500, silence=60)


@pytest.mark.parametrize(
    ("received", "waited", "silent", "left"),
    [
        (0, 0, 0, 20),
        (0, 19, 19, 1),
        (0, 20, 20, 0),
        (5000, 0, 0, 30),
        (5000, 25, 5, 5),
        (10_000_000, 0, 0, 60),
        (10_000_000, 1000, 10, 50),
        (10_000_000, 1060, 60, 0),
        (75_000, 60, 60, 0),
    ],
)
def test_what_is_left(received: int, waited: float, silent: float, left: float) -> None:
    assert PATIENCE.left(received, waited, silent) == left


def test_the_time_for_all_of_it() -> None:
    assert PATIENCE.allowed(0) == 20
    assert PATIENCE.allowed(1_000_000) == 2020
