"""Tells whether variables that a cluster's configuration sets have changed, and keeps none."""

import os
from hashlib import blake2b

from launcher.config.cluster_toml import environment, read_small
from launcher.config.settings import Settings

__all__ = ["mark_of", "new_mark"]


def new_mark(settings: Settings) -> str:
    """A mark of what is now; `mark_of` tells later whether it still is."""
    return mark_of(settings, os.urandom(8).hex())


def mark_of(settings: Settings, salt: str) -> str:
    """Changes when a variable that the configuration sets for this cluster does.

    A keyed hash, for memory only: with the key at hand short values can be guessed.
    """
    digest = blake2b(key=salt.encode())
    if settings.config:
        variables = environment(settings.config, settings.name, settings.environment)
        digest.update(repr(sorted(variables.items())).encode())
    if settings.env_file:
        digest.update(read_small(settings.env_file))
    return f"{salt}:{digest.hexdigest()}"
