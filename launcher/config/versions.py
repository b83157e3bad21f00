"""Settings that another version of the launcher has written, or will read.

They outlive versions in ``app.json``, in the saved set and in clusters that run
while the launcher is replaced. So only wishes count in them: a value that
``sources`` does not name was the default of the version that wrote it, and is
that of the version that reads it.

The first version demands exactly the keys in ``FIRST``, so these are always
written, with its default where nothing was wished. A key that came later is
left out at its default; the first version can then read what does not use it.

Knows settings as JSON only; ``launcher.config.settings`` knows what they mean.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["NEEDED", "filled", "fits", "is_wish"]

FIRST: Mapping[str, Any] = {
    "app": "app:create_app()",
    "bind": ["127.0.0.1:3000"],
    "workers": None,
    "threads": 4,
    "name": "app",
    "policy": "round-robin",
    "graceful_timeout": 30.0,
    "boot_timeout": 60.0,
    "queue_timeout": 30.0,
    "keepalive": 75.0,
    "backlog": 2048,
    "max_restarts": 16,
    "preload": True,
    "chdir": "/",
    "gunicorn_config": None,
    "rerun": True,
    "timeout": 30.0,
    "health_path": None,
    "max_requests": 0,
    "max_memory": 0,
    "max_lifetime": 0.0,
    "env_file": None,
    "watch": False,
    "config": None,
    "access_log": False,
    "log_format": "text",
    "log_max_size": 10 << 20,
    "log_keep": 5,
    "limit_request_line": 8190,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
    "sizing": "1: not asked",
    "wanted": 1,
    "log_to_files": False,
    "sources": {},
}
"""Every key of the first version, and its default then. Never changes."""

NEEDED = frozenset({"app", "name", "chdir", "wanted"})
"""Without these a cluster would be another one; they hold whatever ``sources`` says."""


def is_wish(name: str, value: object, sources: object) -> bool:
    """Whether what was written is more than the default of the version that wrote it."""
    named = name in NEEDED or (isinstance(sources, Mapping) and name in sources)
    # The type too: 1 == True, and is no value of a switch.
    return named or name not in FIRST or (type(value), value) != (type(FIRST[name]), FIRST[name])


def filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What to write of ``values``: the wishes, and what the first version demands besides."""
    wishes = {
        name: value
        for name, value in values.items()
        if name in NEEDED or name in values["sources"] or value != defaults[name]
    }
    return {**FIRST, **wishes}


def fits(value: object, hint: Any) -> bool:
    """Whether a JSON value has the type of a field (a bool is no number here)."""
    if hint == Mapping[str, str]:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if hint == tuple[str, ...]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
