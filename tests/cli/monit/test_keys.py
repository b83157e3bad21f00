"""Keys, as terminals send them."""

from __future__ import annotations

import pytest

from launcher.cli.monit.terminal import keys


@pytest.mark.parametrize(
    ("typed", "meanings"),
    [
        ("", []),
        ("q", ["quit"]),
        ("r+-", ["reload", "more", "fewer"]),
        ("\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        ("\t\x1b[Z", ["down", "up"]),
        ("xyz\x1b", []),
        ("\x1b[5~\x1b[1;5Aq", ["quit"]),
        ("\x1b[", []),
        ("\x1br", []),
        ("é日q", ["quit"]),
    ],
)
def test_what_keys_mean(typed: str, meanings: list[str]) -> None:
    assert keys(typed) == meanings
