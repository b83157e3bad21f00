"""Where facts of the cluster's life are told: each goes to the log and to the observers.

As the log, of which a process has one, this belongs to the process: its primary is one cluster.
An observer keeps facts, or counts them; it must neither block nor raise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from launcher.events.fact import Event
from launcher.primary.log import log

Observer = Callable[[Event], None]

_observers: list[Observer] = []


def note(event: Event) -> None:
    """It has happened: log it if it has a line in the log, and tell the observers."""
    if event.logged:
        log(event.text)
    for observe in _observers:
        observe(event)


@contextlib.contextmanager
def observed_by(observe: Observer) -> Iterator[None]:
    """Tell this observer too, in ``with``."""
    _observers.append(observe)
    try:
        yield
    finally:
        _observers.remove(observe)
