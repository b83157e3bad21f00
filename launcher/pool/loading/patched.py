"""Whether gevent or eventlet has put parts of its own into the standard library.

They make one thread of many coroutines, and the functions that wait belong to that thread.
A worker here has threads of its own that wait in epoll(7); neither works with the other.
"""

from __future__ import annotations

import sys

_ASKED = {
    "gevent": ("gevent.monkey", "is_module_patched"),
    "eventlet": ("eventlet.patcher", "is_monkey_patched"),
}
"""By library, the function that tells of a module whether it is patched."""

_MODULES = ("os", "select", "socket", "ssl", "thread", "threading", "time")


def patched_by() -> str | None:
    """The library that has patched what a worker stands on; None: as it should be."""
    for library, (module, function) in _ASKED.items():
        asked = getattr(sys.modules.get(module), function, None)
        if asked and any(map(asked, _MODULES)):
            return library
    return None
