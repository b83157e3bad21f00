"""What the command line can ask."""

from __future__ import annotations

from typing import Any

from launcher.control.protocol import VERBS
from launcher.primary.control.verbs import Verbs


def test_every_verb_of_the_protocol_has_its_method() -> None:
    unused: Any = None
    table = Verbs(unused, unused, unused, unused).table()
    assert table.keys() == VERBS.keys()
    assert {verb: method.__name__ for verb, method in table.items()} == {
        verb: f"_{verb}" for verb in VERBS
    }
