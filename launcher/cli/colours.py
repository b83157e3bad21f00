"""Which colour a state or a source has, by names that click and rich both know."""

import os
from collections.abc import Mapping

__all__ = ["OF_STATE", "of_source", "wanted"]

OF_STATE: Mapping[str, str] = {
    "online": "green",
    "launching": "yellow",
    "reloading": "yellow",
    "retiring": "yellow",
    "stopping": "yellow",
    "backoff": "red",
    "errored": "red",
    "stopped": "bright_black",
    "asking": "bright_black",
}
"""The states of clusters and workers."""

_SLOTS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green")


def of_source(source: str) -> str:
    """The colour of a log's source: each slot has its own, the primary and the pool are pale."""
    return _SLOTS[int(source) % len(_SLOTS)] if source.isdecimal() else "bright_black"


def wanted() -> bool | None:
    """Whether `click.echo` may print colours: no, or (None) if it finds stdout to be a terminal.

    So whatever is to be shown is styled, and stripped again in a pipe. NO_COLOR: no-color.org.
    """
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if unwanted else None
