"""Rows and columns are shared out with exact numbers."""

from __future__ import annotations

import pytest

from launcher.cli.monit.layout import Want, fitting, share, window


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (0, [0, 0, 0]),
        (3, [3, 0, 0]),
        (6, [4, 2, 0]),
        (11, [4, 3, 4]),
        (12, [4, 4, 4]),
        (14, [5, 4, 5]),
        (100, [6, 4, 90]),
    ],
)
def test_first_the_least_in_order_then_the_poorest(rows: int, given: list[int]) -> None:
    assert share(rows, [Want(4, 6), Want(3, 4), Want(4, 90)]) == given


def test_nobody_gets_more_than_asked() -> None:
    assert share(50, [Want(4, 2), Want(0, 0)]) == [2, 0]


@pytest.mark.parametrize(
    ("room", "kept"),
    [(23, [0, 1, 2, 3]), (22, [0, 1, 3]), (16, [0, 3]), (10, [0]), (0, [0])],
)
def test_columns_go_by_rank_and_the_first_stays(room: int, kept: list[int]) -> None:
    assert fitting([5, 5, 5, 5], [0, 2, 3, 1], room, 1) == kept


def test_the_window_holds_the_selected() -> None:
    assert window(3, 2, 10) == range(3)
    assert window(10, 0, 3) == range(3)
    assert window(10, 5, 3) == range(4, 7)
    assert window(10, 9, 3) == range(7, 10)
