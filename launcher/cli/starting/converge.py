"""Brings a cluster that runs to the settings it is to have, without losing a request."""

import dataclasses
import os
from contextlib import suppress

from launcher.cli.asking.deadlines import time_to_start
from launcher.config.marks import mark_of
from launcher.config.settings import FIXED_AT_START, Settings
from launcher.control.client import ANSWER_WITHIN, call
from launcher.errors import LauncherError, NothingToDo
from launcher.state.home import Home

__all__ = ["converge"]

NOT_RELOADED = frozenset({"workers", "wanted", "sizing", "log_to_files", "sources"})
"""How many workers there are is a matter of scaling; the others say nothing about the app."""


def converge(home: Home, wanted: Settings) -> str:
    """Reload it if its settings or variables differ, scale it if its number of workers does.

    What to tell. NothingToDo if it runs like that. LauncherError if that fails, or takes
    a start, or if what runs by that name is another project's; then nothing is changed.
    """
    name = wanted.name
    running = call(home, name, "describe", timeout=ANSWER_WITHIN)
    now = Settings.from_json(running["settings"])
    if not (_same(now.config, wanted.config) or _same(now.chdir, wanted.chdir)):
        raise LauncherError(
            f"{name}: runs already, in {now.chdir}: stop it, or choose another name"
        )
    changed = sorted(_differences(now, wanted))
    fixed = [option for option in changed if option in FIXED_AT_START]
    if fixed:
        raise LauncherError(
            f"{name}: {', '.join(fixed)} changed: that takes a stop and a start:"
            f" python -m launcher stop {name} && python -m launcher start {_named(wanted)}"
        )
    told = _reload(home, name, wanted, changed, running["mark"])
    if wanted.wanted != now.wanted:
        args = {"to": str(wanted.wanted), "why": wanted.sizing}
        call(home, name, "scale", args, timeout=time_to_start(now))
        told.append(f"scaled {name}: {now.wanted} to {wanted.wanted} workers")
    if not told:
        raise NothingToDo(f"{name} runs already, unchanged")
    return "\n".join(told)


def _named(wanted: Settings) -> str:
    """What to type to start it with these settings, wherever one is."""
    return f"-c {wanted.config} {wanted.name}" if wanted.config else wanted.name


def _same(one: str | None, other: str | None) -> bool:
    """Whether two paths lead to one file or folder."""
    if one and other and one != other:
        with suppress(OSError):  # one of them has gone
            return os.path.samefile(one, other)
    return one == other


def _reload(
    home: Home, name: str, wanted: Settings, changed: list[str], mark_then: str
) -> list[str]:
    mark = mark_of(wanted, mark_then.partition(":")[0])
    if mark != mark_then:
        changed = [*changed, "env"]
    if not changed:
        return []
    args = {"settings": wanted.to_json(), "mark": mark}
    call(home, name, "reload", args, timeout=time_to_start(wanted))
    return [f"reloaded {name}: {', '.join(changed)} changed"]


def _differences(now: Settings, wanted: Settings) -> set[str]:
    fields = {field.name for field in dataclasses.fields(Settings)} - NOT_RELOADED
    return {field for field in fields if getattr(now, field) != getattr(wanted, field)}
