"""What every export is made from, and what it comes to.

An export holds the names of variables and never their values: `Cluster` has none.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

from launcher import __version__
from launcher.config.address import BindAddress, parse_bind
from launcher.config.option import Option
from launcher.config.settings import OPTIONS, Settings
from launcher.errors import LauncherError, UsageError

__all__ = ["LOOPBACK", "WILDCARD", "Cluster", "Export", "File", "Wishes", "refuse_same_names"]

MARGIN = 5.0
"""Seconds beyond what the launcher takes at most, before an engine loses patience with it."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- read, not listened on


class File(NamedTuple):
    """A file of an export."""

    name: str
    text: str

    def stamped(self, engine: str) -> str:
        """The text below a line that tells what wrote it, and a hash that tells edits and age."""
        digest = sha256(self.text.encode()).hexdigest()[:12]
        return f"# {self.name}: launcher {__version__}, export {engine}, {digest}\n{self.text}"

    @staticmethod
    def edited(text: str) -> bool:
        """Whether the text of a file is another than the hash in its first line was made of."""
        first, _, rest = text.partition("\n")
        return not first.endswith(f", {sha256(rest.encode()).hexdigest()[:12]}")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says besides which clusters."""

    image: str = ""
    hosts: tuple[str, ...] = ()
    user: str = ""
    socket: bool = False
    hpa: bool = False
    python: str = "python3"
    """The interpreter on this machine."""
    python_version: str = "3"
    places: tuple[str, ...] = ()
    """Where this interpreter and its packages are."""
    python_path: str = ""
    """Where the launcher is, if it is not installed."""
    requirements: bool = False
    """Whether the project has a requirements.txt."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as another engine is to run it, or to stand before it."""

    settings: Settings
    start_within: float
    """Seconds that its start takes at most."""
    of_files: Sequence[str] = ()
    """The names of the variables that its files set for the app."""
    of_shell: Sequence[str] = ()
    """The names of those that the app had from the shell it was started in."""
    owner: str = ""
    """The user its folder belongs to, unless that is root."""

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self.settings.name

    @property
    def stop_within(self) -> int:
        """Seconds after TERM that an engine waits before it kills."""
        return math.ceil(self.settings.drain + self.settings.graceful_timeout + MARGIN)

    @property
    def answer_within(self) -> int:
        """Seconds a proxy waits for an answer: by then the launcher has sent its own 503 or 504.

        Without ``--timeout`` a request may take any time: a day.
        """
        if not self.settings.timeout:
            return 86_400
        return math.ceil(self.settings.queue_timeout + self.settings.timeout + MARGIN)

    @property
    def addresses(self) -> list[BindAddress]:
        """Where the cluster listens."""
        return [parse_bind(address) for address in self.settings.bind]

    def ports(self) -> list[BindAddress]:
        """Its addresses, where all of them have a port that is known. LauncherError if not."""
        for address in self.addresses:
            if address.kind not in ("tcp4", "tcp6"):
                raise LauncherError(f"{self.name}: listens on {address}, which is no port: --bind")
            self.require_fixed(address)
        return self.addresses

    def require_fixed(self, address: BindAddress) -> None:
        """LauncherError for what is another address each time, or only its parent can pass."""
        if address.kind == "fd":
            raise LauncherError(f"{self.name}: listens on {address}, which only its parent has")
        if address.kind != "unix" and not address.port:
            raise LauncherError(f"{self.name}: listens on any free port: name one with --bind")

    def status_address(self) -> BindAddress:
        """Where probes ask. LauncherError if it has no such address, or none with a port."""
        status = self.settings.status_bind
        address = parse_bind(status) if status else None
        if address is None or address.kind not in ("tcp4", "tcp6") or not address.port:
            found = f", not {address}" if address else ""
            raise LauncherError(
                f"{self.name}: probes ask its status address: set status_bind"
                f" (--status-bind) to one with a port{found}"
            )
        return address

    def flags(
        self, leave_out: Set[str] = frozenset(), instead: Mapping[str, Any] = MappingProxyType({})
    ) -> list[str]:
        """The options that make its settings where no file and no variable decides any.

        But for ``leave_out``, and with ``instead`` in place of its own values. What an
        environment of cluster.toml has decided is among them as any other setting is.
        """
        kept = self.settings.values()
        given = {row.name: kept[row.name] for row in OPTIONS if self._is_given(row, kept)}
        return _options({**given, **instead}, {"environment", *leave_out})

    def flags_beside_its_file(self, leave_out: Set[str] = frozenset()) -> list[str]:
        """The options that make its settings of what its cluster.toml says."""
        kept, sources = self.settings.values(), self.settings.sources
        said_there = (None, os.path.basename(self.settings.config or ""))
        given = {name: kept[name] for name in sources if sources[name] not in said_there}
        return _options(given, leave_out)

    def _is_given(self, row: Option, kept: Mapping[str, Any]) -> bool:
        if row.name not in kept or row.name == "chdir":
            return row.name in self.settings.sources
        default = list(row.default) if row.repeatable else row.default
        return row.name in self.settings.sources or kept[row.name] != default


Export = Callable[[Sequence[Cluster], Wishes], list[File]]
"""What each engine's module has as ``export``; LauncherError for what it cannot say."""


def refuse_same_names(clusters: Sequence[Cluster], rule: Callable[[str], str]) -> None:
    """LauncherError where two clusters would have one name by the rule of an engine."""
    owners: dict[str, str] = {}
    for cluster in clusters:
        other = owners.setdefault(rule(cluster.name), cluster.name)
        if other != cluster.name:
            raise UsageError(
                f"{other} and {cluster.name} would both be called {rule(other)!r} there:"
                " export them one by one"
            )


def _options(values: Mapping[str, Any], leave_out: Set[str]) -> list[str]:
    """Options with these values, in the order of ``--help``."""
    leave_out = {"app", "name", "config", *leave_out}
    rows = [row for row in OPTIONS if row.name in values and row.name not in leave_out]
    return [word for row in rows for word in _words(row, values[row.name])]


def _words(row: Option, value: Any) -> Iterator[str]:
    match value:
        case bool():
            yield row.flag if value else row.flag.replace("--", "--no-", 1)
        case list():
            for each in value:
                yield from (row.flag, str(each))
        case None:
            yield from (row.flag, "auto")  # workers: the one setting with a word for it
        case float():
            yield from (row.flag, re.sub(r"\.?0+$", "", f"{value:.9f}"))
        case _:
            yield from (row.flag, str(value))
