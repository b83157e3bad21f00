"""The table of processes: what there is no room for is not started."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.primary import roster
from launcher.primary.reactor import Reactor
from launcher.primary.roster import Roster
from launcher.settings import Settings


def test_while_all_rows_are_taken_no_worker_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retiring workers keep theirs: many reloads can be under way at once."""
    monkeypatch.setattr(roster, "ROWS", 0)
    nobody: Any = None
    reactor = Reactor()
    table = Roster(Settings(), [], reactor, nobody)
    assert table.spawn(nobody, slot=0) is None
    table.close()
    reactor.close()
