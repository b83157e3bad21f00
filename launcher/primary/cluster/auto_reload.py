"""Reloads by itself when the code of the app has changed (``--watch``).

The pool of the current generation looks at the files (``pool/loading/source_watch.py``);
what is a reason to reload, ``policy/code_changes.py`` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from launcher.events.changes import CodeChanged, CodeSettled, ReloadHeldBack
from launcher.ipc.messages import Changed, Look
from launcher.policy.code_changes import Brake, CodeChanges
from launcher.primary.journal import note
from launcher.primary.processes.generation import Generation
from launcher.primary.reactor import Reactor, Timer


class AutoReload:
    """Hears of changes. Has ``reload`` called, at most one being due at a time."""

    def __init__(self, reactor: Reactor, reload: Callable[[], None]) -> None:
        self._reactor = reactor
        self._reload_soon = reload
        self._changes = CodeChanges()
        self._brake = Brake()
        self._due: Timer | None = None
        self._asked: Generation | None = None
        """The generation whose pool was asked what has changed up to the end of the load."""

    def load_begins(self) -> None:
        """A generation is being launched: it will load the files as they are now."""
        self._changes.load_begins()
        self._asked = None
        if self._due:
            self._due.cancel()
            self._due = None

    def follow(self, generation: Generation | None, over: bool) -> None:
        """Notice when a load is over: the new generation serves, or the old one goes on.

        ``generation``: the current one. ``over``: all is calm with it; or what was loaded
        cannot live, so that its code has to change.
        """
        if not (over and self._changes.loading and generation) or self._asked:
            return
        # Files are looked at once a second. What the load has changed must be known
        # now: found a second later, it would look like a developer's doing.
        if generation.terms.settings.watch and generation.tell(Look()):
            self._asked = generation
        else:
            self._load_ended(generation)

    def heard(self, generation: Generation, changed: Changed, current: Generation | None) -> None:
        """The pool of a generation has looked at the files; ``current``: the one that serves."""
        reasons = self._changes.heard(generation.number, changed.paths)
        if changed.asked and generation is self._asked:
            self._load_ended(generation)
        elif reasons and generation is current:
            self._reload_because_of(reasons)

    def _load_ended(self, generation: Generation) -> None:
        self._asked = None
        reasons, own = self._changes.load_ended(generation.number)
        if own:
            note(CodeSettled(_named(own)))
        if reasons:
            self._reload_because_of(reasons)

    def _reload_because_of(self, paths: list[str]) -> None:
        note(CodeChanged(_named(paths)))
        if self._due:
            return
        now = self._reactor.clock()
        when = self._brake.next(now)
        if when > now:
            note(ReloadHeldBack(when - now, paths[0]))
        self._due = self._reactor.call_at(when, partial(self._reload, when))

    def _reload(self, now: float) -> None:
        self._due = None
        self._brake.took(now)
        self._reload_soon()


def _named(paths: list[str]) -> str:
    more = len(paths) - 1
    return f"{paths[0]} and {more} more" if more else paths[0]
