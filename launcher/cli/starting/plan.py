"""Which clusters ``run`` and ``start`` mean, and with which settings: nothing is started here.

A word is, in this order: the name of an app in cluster.toml; the name of a
cluster that was started before; an app. With ``--config`` only the first.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from launcher.cli.starting.kept import kept_settings
from launcher.config.cluster_toml import FILE, ConfigFile
from launcher.config.resolve import Layer, given_by, resolve
from launcher.config.settings import Settings
from launcher.errors import LauncherError, NothingToDo, UsageError
from launcher.state.home import Home

__all__ = ["Plan", "plan_for_run", "plans_for_start"]

Flags = Mapping[str, Any]

ONE_EACH = ("app", "name", "bind", "port")
"""Options that only one cluster can have."""


@dataclass(frozen=True)
class Plan:
    """A cluster that is to run."""

    settings: Settings
    file: ConfigFile | None = None
    """The file it is an app of."""


def plan_for_run(word: str | None, flags: Flags, environ: Mapping[str, str]) -> Settings:
    """The one cluster to run in the foreground."""
    planner = Planner(flags, environ, None)
    planner.look_here()
    if word:
        return planner.word(word).settings
    if planner.file is None:
        return planner.app(None)
    plans = planner.sections()
    if len(plans) > 1:
        names = ", ".join(plan.settings.name for plan in plans)
        raise UsageError(f"{planner.file.path} has several apps, and run is for one: {names}")
    return plans[0].settings


def plans_for_start(
    words: Sequence[str], flags: Flags, environ: Mapping[str, str], home: Home | None
) -> list[Plan]:
    """The clusters to start: apps of a file, entries, apps.

    Raises LauncherError when any of it is wrong, or two would listen on the same address.
    """
    planner = Planner(flags, environ, home)
    planner.look_here()
    if "all" in words and len(words) > 1:
        raise UsageError("'all' stands alone: it means all of cluster.toml, or all that is stopped")
    if words == ("all",):
        plans = planner.sections() if planner.file else planner.stopped()
    elif words:
        plans = [planner.word(word) for word in dict.fromkeys(words)]
    else:
        plans = planner.sections() if planner.file else [Plan(planner.app(None))]
    _refuse_shared([plan.settings for plan in plans], planner.given)
    return plans


class Planner:
    """Finds out what words mean, with the options of the command."""

    def __init__(self, flags: Flags, environ: Mapping[str, str], home: Home | None) -> None:
        self.given = given_by(flags, environ)
        config = self.given.get("config")
        self.file = ConfigFile.load(config.texts[0]) if config else None
        self._only_the_file = config is not None
        self._flags = flags
        self._environ = environ
        self._home = home

    def look_here(self) -> None:
        """Without ``--config``: take the cluster.toml of this folder, if there is one."""
        if self.file is None and os.path.lexists(FILE):
            self.file = ConfigFile.load(FILE)

    def word(self, word: str) -> Plan:
        """What one word means."""
        if self.file and (word in self.file.sections or self._only_the_file):
            return self.section(word)
        if self._home and word in self._home.names():
            return Plan(self._entry(self._home, word))
        return Plan(self.app(word))

    def app(self, name: str | None) -> Settings:
        """An app that is named on the command line, or the default one."""
        return resolve({**self._flags, "app": name}, self._environ)

    def section(self, name: str) -> Plan:
        """An app of the file."""
        assert self.file
        environment = self._environment(name)
        section = self.file.section(name, environment)
        flags = {**self._flags, "environment": environment}
        settings = resolve(flags, self._environ, section)
        self._refuse_another_name(name)
        return Plan(settings, self.file)

    def _environment(self, name: str) -> str | None:
        """The environment that is asked for, else the one that the cluster has, else the file's."""
        assert self.file
        if asked := self.given.get("environment"):
            return asked.texts[0]
        with suppress(LauncherError):
            entry = self._home.entry(name) if self._home else None
            kept = entry.settings if entry else None
            if kept and kept.get("config") == self.file.path and kept.get("environment"):
                return str(kept["environment"])
        named = self.file.section(name).given.get("environment")
        return named.texts[0] if named else None

    def sections(self) -> list[Plan]:
        """Every app of the file, or the one that ``--name`` names."""
        assert self.file
        name = self.given.get("name")
        return [self.section(each) for each in (name.texts if name else self.file.sections)]

    def stopped(self) -> list[Plan]:
        """Every cluster that was stopped, or is dead."""
        home = self._home
        names = [name for name in home.names() if _is_stopped(home, name)] if home else []
        if not home or not names:
            raise NothingToDo("no cluster is stopped")
        return [Plan(self._entry(home, name)) for name in names]

    def _entry(self, home: Home, name: str) -> Settings:
        """How a cluster was started before, with what the command line says now."""
        entry = home.entry(name)
        kept = kept_settings(home, entry) if entry else None
        if kept is None:
            raise LauncherError(f"cluster {name!r} left nothing to start it by: name its app")
        new = resolve(self._flags, {}, folder=kept.chdir)
        self._refuse_another_name(name)
        said = new.sources.keys() - {"name"}
        changes = {option: getattr(new, option) for option in said}
        if "workers" in said:
            changes |= {"wanted": new.wanted, "sizing": new.sizing}
        sources = {**kept.sources, **{option: new.sources[option] for option in said}}
        return dataclasses.replace(kept, **changes, sources=sources)

    def _refuse_another_name(self, name: str) -> None:
        """What has a name already is not given another by the way."""
        if self._flags.get("name") not in (None, name):
            raise UsageError(
                f"--name: cluster {name!r} keeps its name: leave the option out,"
                " or name the app of a new cluster: module:attribute"
            )


def _is_stopped(home: Home, name: str) -> bool:
    entry = home.entry(name)
    return entry is not None and not entry.running and entry.settings is not None


def _refuse_shared(everything: Sequence[Settings], given: Layer) -> None:
    """Two clusters cannot have the same name or listen on the same address."""
    for option in ONE_EACH if len(everything) > 1 else ():
        if option in given:
            raise UsageError(f"{given[option].source} is for one cluster, not {len(everything)}")
    names: set[str] = set()
    owners: dict[str, str] = {}
    for settings in everything:
        if settings.name in names:
            raise UsageError(f"two of them would be called {settings.name!r}")
        names.add(settings.name)
        for address in settings.bind:
            other = owners.setdefault(address, settings.name)
            if other != settings.name and not address.endswith(":0"):
                raise LauncherError(f"{other!r} and {settings.name!r} both listen on {address}")
