"""Reloads at the times that a user has chosen (``--reload-at``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from launcher.events.changes import ReloadDue
from launcher.primary.cluster.primary import Primary
from launcher.primary.journal import note

__all__ = ["Timetable", "is_due"]

_LOOK = 5.0
"""Seconds between looks at the clock on the wall, which may be set meanwhile."""

_SET_BACK = timedelta(hours=3)
"""What is less is the end of summer time, or a clock that is put right: nothing comes twice."""


def is_due(expressions: str, after: datetime, now: datetime) -> bool:
    """Whether a time that one of these cron expressions names is in (after, now]; local times."""
    from cronsim import CronSim  # only clusters that have such times wait for it

    times = (CronSim(each.strip(), after) for each in expressions.split(";"))
    return any(next(time, now + _SET_BACK) <= now for time in times)


class Timetable:
    """Looks whether it is time. A reload that is in the way of it is waited for."""

    def __init__(self, primary: Primary, now: Callable[[], datetime] = datetime.now) -> None:
        self._primary = primary
        self._now = now
        self._looked = now()

    def start(self) -> None:
        """Look from now on."""
        self._primary.reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        self.start()
        now = self._now()
        if now <= self._looked - _SET_BACK:
            self._looked = now
        expressions = self._primary.settings.reload_at
        due = expressions is not None and is_due(expressions, self._looked, now)
        self._looked = max(self._looked, now)
        if due:
            note(ReloadDue(f"{now:%H:%M}"))
            self._primary.rollouts.reload_soon()
            self._primary.step()
