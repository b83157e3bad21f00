"""How long a start or a change may take, by the settings of the cluster."""

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.home import Home

__all__ = ["time_to_change", "time_to_start"]

MARGIN = 10.0
"""Seconds a start may take besides loading the app and the workers' getting ready."""


def time_to_start(settings: Settings) -> float:
    """Seconds: the app may take its time to load, and then each worker to be ready."""
    return 2 * settings.boot_timeout + MARGIN


def time_to_change(home: Home, name: str) -> float:
    """Seconds that a change may take."""
    entry = home.entry(name)
    try:
        return time_to_start(Settings.from_json((entry and entry.settings) or {}))
    except LauncherError:  # of another version
        return time_to_start(Settings())
