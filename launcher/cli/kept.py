"""How a cluster was started before: the settings that its folder keeps."""

import os

from launcher.errors import LauncherError
from launcher.home import Entry, Home
from launcher.settings import Settings

__all__ = ["kept_settings"]


def kept_settings(home: Home, entry: Entry) -> Settings | None:
    """What is in ``app.json``; None if there is none. LauncherError if it cannot be meant."""
    if entry.settings is None:
        return None
    try:
        return Settings.from_json(entry.settings)
    except LauncherError as error:
        path = os.path.join(home.path, entry.name, "app.json")
        raise LauncherError(f"{path}: {error}") from None
