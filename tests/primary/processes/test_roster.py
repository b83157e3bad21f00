"""The table of processes: what there is no room for is not started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from launcher.config.settings import Settings
from launcher.primary.processes import roster
from launcher.primary.processes.reaper import Orphans
from launcher.primary.processes.roster import Roster
from launcher.primary.reactor import Reactor


def test_while_all_rows_are_taken_no_worker_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retiring workers keep theirs: many reloads can be under way at once."""
    monkeypatch.setattr(roster, "ROWS", 0)
    unused: Any = None
    reactor = Reactor()
    table = Roster(Settings(), [], reactor)
    assert table.spawn(unused, slot=0) is None
    table.close()
    reactor.close()


def test_a_generation_is_alone_once_every_process_of_the_others_was_collected() -> None:
    """A worker that has closed its channel may still hold a port that a server hook opened."""
    reactor = Reactor()
    table = Roster(Settings(), [], reactor)
    old, new = object(), object()
    heir: Any = new
    for generations, ending, alone in (
        ([old, new], [], False),
        ([new], [4711], False),
        ([new], [], True),
        ([], [], False),
    ):
        table.generations[:] = generations  # type: ignore[assignment]
        table._orphans = Orphans()
        for pid in ending:
            orphan: Any = SimpleNamespace(pid=pid, id=1)
            table._orphans.add(orphan)
        assert table.is_alone(heir) is alone
    table.close()
    reactor.close()
