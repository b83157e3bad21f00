"""How many connections fit, and when some are to go."""

from __future__ import annotations

import pytest

from launcher.policy.capacity import (
    LEAST,
    MOST,
    capacity,
    has_room,
    least_descriptors,
    leaving,
    wanted_room,
)


@pytest.mark.parametrize(
    ("descriptors", "workers", "fit"),
    [
        (16, 2, 0),
        (64, 2, 6),
        (100, 2, 38),
        (256, 1, 178),
        (256, 2, 175),
        (1024, 1, 850),
        (1024, 2, 847),
        (65_536, 8, 64_431),
        (1 << 24, 8, MOST),
    ],
)
def test_how_many_fit(descriptors: int, workers: int, fit: int) -> None:
    assert capacity(descriptors, workers, listeners=1) == fit


@pytest.mark.parametrize("workers", [1, 2, 8, 64, 512])
@pytest.mark.parametrize("listeners", [1, 4])
def test_with_the_least_descriptors_the_least_connections_fit(workers: int, listeners: int) -> None:
    least = least_descriptors(workers, listeners)
    assert capacity(least, workers, listeners) >= LEAST
    assert capacity(least - 3, workers, listeners) < LEAST


@pytest.mark.parametrize("descriptors", [80, 256, 1024, 4096, 65_536])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_nobody_has_more_than_there_are(descriptors: int, workers: int) -> None:
    fit = capacity(descriptors, workers, 1)
    assert fit + leaving(descriptors, workers, 1) + 4 * workers < descriptors
    assert fit / workers < descriptors


def test_room_is_wanted_when_less_than_a_sixteenth_is_left() -> None:
    assert [wanted_room(free, 160) for free in (160, 10, 9, 1, 0)] == [0, 0, 11, 19, 20]
    assert [wanted_room(free, 8) for free in (2, 1, 0)] == [0, 0, 2]


def test_there_is_room_again_with_a_quarter() -> None:
    assert [has_room(free, 160) for free in (0, 40, 41)] == [False, False, True]
