"""What a number of workers means that a cluster is to be scaled to."""

from __future__ import annotations

import re

import pytest

from launcher.config.resolve import given_by, scale_target
from launcher.config.settings import Settings
from launcher.errors import UsageError
from launcher.sizing import size


@pytest.mark.parametrize(("text", "workers"), [("3", 3), ("+2", 6), ("-3", 1), ("-0", 4)])
def test_a_number_or_a_difference(text: str, workers: int) -> None:
    assert scale_target(text, 4) == (workers, f"{workers}: scale {text}")


def test_auto_is_what_the_machine_has_room_for() -> None:
    assert scale_target("auto", 4) == (size().workers, str(size()))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("many", "'many' is not a whole number from 0 to 512, +N, -N, nor auto"),
        ("0", "'0' would make 0 workers: 1 to "),
        ("-4", "'-4' would make 0 workers: 1 to "),
    ],
)
def test_what_is_none(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(problem)}"):
        scale_target(text, 4)


def test_a_cluster_that_was_scaled_says_why_it_has_so_many() -> None:
    two = Settings(sources={"workers": "--workers", "bind": "--port"}, workers=3, wanted=3)
    three = two.sized(4, 4, "4: scale +1")
    assert (three.workers, three.wanted, three.sizing) == (4, 4, "4: scale +1")
    assert three.sources == {"workers": "scale +1", "bind": "--port"}
    assert two.sized_as(three).sources == three.sources
    assert three.sized(None, 2, "2: one per CPU").sources == {"bind": "--port"}


def test_the_command_line_wins_over_variables() -> None:
    found = given_by({"threads": "3"}, {"LAUNCHER_THREADS": "5", "LAUNCHER_BACKLOG": "9"})
    assert (found["threads"].texts, found["backlog"].texts) == (("3",), ("9",))
