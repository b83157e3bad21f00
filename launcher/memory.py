"""Memory that malloc(3) keeps although it was given back to it.

Each thread of a process with glibc gets an arena of its own, and what is freed in it
stays there: a worker that has once held large responses would have their memory for
good. With one arena the top of it can go back to the system; threads of Python hardly
ever allocate at the same time. Where the C library is another, nothing is done.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

_M_ARENA_MAX = -8
"""mallopt(3), <malloc.h>."""


def use_one_arena() -> None:
    """Have this process and those that it forks do with one arena, unless the user says otherwise.

    To be called before there are threads.
    """
    told = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = None if told else _function("mallopt")
    if mallopt:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return what is free to the system (malloc_trim(3)). Takes milliseconds when it is much."""
    trim = _function("malloc_trim")
    if trim:
        trim(ctypes.c_size_t(0))


def _function(name: str) -> Any:
    """A function of the C library; None: it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except OSError:  # linked statically
        return None
