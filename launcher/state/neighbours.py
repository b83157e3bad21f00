"""The other clusters of this user, as far as one of them is in another's way."""

from contextlib import suppress

from launcher.config.address import BindAddress, parse_bind
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.home import Home

__all__ = ["listens_on"]

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 -- compared with, not bound to


def listens_on(address: BindAddress) -> str | None:
    """The name of the running cluster that has this address, or another of its port's there."""
    with suppress(LauncherError):
        home = Home.open_existing()
        if home is None:
            return None
        with home:
            for name in home.names():
                entry = home.entry(name)
                if not (entry and entry.running and entry.settings):
                    continue
                theirs = map(parse_bind, Settings.from_json(entry.settings).bind)
                if any(_clash(address, each) for each in theirs):
                    return name
    return None


def _clash(address: BindAddress, other: BindAddress) -> bool:
    if not address.port or (address.kind, address.port) != (other.kind, other.port):
        return address == other
    return address.host == other.host or not {address.host, other.host}.isdisjoint(_EVERYWHERE)
