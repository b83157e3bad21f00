"""Goes on with what comes, as ``tail -f``."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

__all__ = ["LOOK_EVERY", "tail"]

T = TypeVar("T")

LOOK_EVERY = 0.1
"""Seconds between looks at the files that are followed."""


def tail(more: Callable[[], T], show: Callable[[T], object]) -> None:
    """Show what has come, again and again, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(LOOK_EVERY)
            show(more())
