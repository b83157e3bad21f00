"""Whether gevent or eventlet has put parts of its own into the standard library.

Patched, the functions that wait belong to one thread that runs many coroutines. A worker
here has threads of its own that wait in epoll(7). The two do not work together.
"""

from __future__ import annotations

import sys

_ASKED = {
    "gevent": ("gevent.monkey", "is_module_patched"),
    "eventlet": ("eventlet.patcher", "is_monkey_patched"),
}
"""By library: the function that tells whether the library has patched a module."""

_MODULES = ("os", "select", "socket", "ssl", "thread", "threading", "time")


def patched_by() -> str | None:
    """The library that has patched a module on which workers rely; None: no library has."""
    for library, (module, function) in _ASKED.items():
        asked = getattr(sys.modules.get(module), function, None)
        if asked and any(map(asked, _MODULES)):
            return library
    return None
