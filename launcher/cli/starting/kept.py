"""How a cluster was started before: the settings that its folder keeps."""

import os

from launcher.cli.text import complain
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.home import Entry, Home

__all__ = ["kept_settings"]


def kept_settings(home: Home, entry: Entry) -> Settings | None:
    """What is in ``app.json``; None if there is none. LauncherError if it cannot be meant.

    Says on stderr what of it this version does not know.
    """
    if entry.settings is None:
        return None
    path = os.path.join(home.path, entry.name, "app.json")
    try:
        settings = Settings.from_json(entry.settings)
    except LauncherError as error:
        raise LauncherError(f"{path}: {error}") from None
    if odd := Settings.unknown_in(entry.settings):
        complain(f"{path}: this version does not know {', '.join(map(repr, odd))}: left out")
    return settings
