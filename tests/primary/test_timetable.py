"""When it is time to reload: the clock on the wall, which may be set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from launcher.primary.timetable import Timetable, is_due

FOUR = datetime(2026, 11, 22, 4)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("expressions", "after", "now", "due"),
    [
        ("0 4 * * *", FOUR - SECOND, FOUR, True),
        ("0 4 * * *", FOUR - 2 * SECOND, FOUR - SECOND, False),
        ("0 4 * * *", FOUR, FOUR + 5 * SECOND, False),  # it was
        ("0 5 * * *; 0 4 * * *", FOUR - SECOND, FOUR + SECOND, True),
        ("0 4 * * MON", FOUR - SECOND, FOUR, False),  # a Sunday
        ("0 4 29 2 *", FOUR - SECOND, FOUR, False),  # in a leap year
    ],
)
def test_is_due(expressions: str, after: datetime, now: datetime, due: bool) -> None:
    assert is_due(expressions, after, now) is due


def reloads(expression: str, times: list[datetime]) -> list[datetime]:
    """When a reload was asked for, where the clock was looked at at these times."""
    calls: list[Callable[[], None]] = []
    asked: list[datetime] = []
    clock = iter(times)
    now = [next(clock)]
    primary = SimpleNamespace(
        reactor=SimpleNamespace(call_later=lambda _, call: calls.append(call)),
        settings=SimpleNamespace(reload_at=expression),
        rollouts=SimpleNamespace(reload_soon=lambda: asked.append(now[0])),
        step=lambda: None,
    )
    Timetable(primary, lambda: now[0]).start()  # type: ignore[arg-type]
    for time in clock:
        now[0] = time
        calls.pop()()
    return asked


def test_each_time_comes_once_whatever_becomes_of_the_clock() -> None:
    step = timedelta(seconds=5)
    day = [FOUR - 2 * step + step * index for index in range(6)]
    assert reloads("0 4 * * *", day) == [FOUR]
    hour = timedelta(hours=1)
    back = [FOUR - step, FOUR, FOUR - hour, FOUR - step, FOUR, FOUR + step]
    assert reloads("0 4 * * *", back) == [FOUR], "the end of summer time"
    jump = [FOUR - 5 * hour, FOUR + 5 * hour]
    assert reloads("0 4 * * *; 0 5 * * *", jump) == [FOUR + 5 * hour]
    corrected = [FOUR + 100 * hour, FOUR - hour, FOUR]
    assert reloads("0 4 * * *", corrected) == [FOUR], "it was set wrong"
    assert reloads("", [FOUR]) == []
