"""Tells that an app takes its time to load, and how long it still may."""

from __future__ import annotations

from launcher.events.cluster import AppLoading, AppStillLoading
from launcher.primary.journal import note
from launcher.primary.processes.generation import Generation
from launcher.primary.processes.roster import Roster

__all__ = ["Loading", "next_word"]

_FIRST, _SECOND, _EVERY = 1.0, 5.0, 10.0


def next_word(waited: float) -> float:
    """When to say something next, after a wait of so many seconds: at 1, 5, 10, 20, 30 …"""
    if waited < _SECOND:
        return _FIRST if waited < _FIRST else _SECOND
    return (waited // _EVERY + 1) * _EVERY


class Loading:
    """Looks at the generations of a cluster whose app is not loaded yet."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._due: dict[int, float] = {}
        """By generation: after how many seconds of waiting there is something to say."""

    def look(self, now: float) -> None:
        """Say what is due. To be called about once a second."""
        waiting = [each for each in self._roster.generations if not each.loaded]
        self._due = {each.number: self._due.get(each.number, _FIRST) for each in waiting}
        for generation in waiting:
            if generation.deadline:
                self._tell(generation, generation.deadline.when - now)

    def _tell(self, generation: Generation, left: float) -> None:
        settings = generation.terms.settings
        waited = settings.boot_timeout - left
        due = self._due[generation.number]
        if waited < due or left <= 0:
            return
        self._due[generation.number] = next_word(waited)
        if due == _FIRST:
            note(AppLoading(settings.app))
        else:
            note(AppStillLoading(settings.app, waited, left))
