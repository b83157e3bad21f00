"""The table of processes: what there is no room for is not started."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.config.settings import Settings
from launcher.primary.processes import roster
from launcher.primary.processes.roster import Roster
from launcher.primary.reactor import Reactor


def test_while_all_rows_are_taken_no_worker_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retiring workers keep theirs: many reloads can be under way at once."""
    monkeypatch.setattr(roster, "ROWS", 0)
    nobody: Any = None
    reactor = Reactor()
    table = Roster(Settings(), [], reactor, nobody)
    assert table.spawn(nobody, slot=0) is None
    table.close()
    reactor.close()


def test_a_generation_is_alone_once_every_process_of_the_others_was_collected() -> None:
    """A worker that has closed its channel may still hold a port that a server hook opened."""
    nobody: Any = None
    reactor = Reactor()
    table = Roster(Settings(), [], reactor, nobody)
    old, new = object(), object()
    heir: Any = new
    for generations, ending, alone in (
        ([old, new], {}, False),
        ([new], {4711: 1}, False),
        ([new], {}, True),
        ([], {}, False),
    ):
        table.generations[:] = generations  # type: ignore[assignment]
        table._to_collect = dict(ending)
        assert table.is_alone(heir) is alone
    table.close()
    reactor.close()
