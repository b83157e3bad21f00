"""Data as YAML: nested dicts and lists in block style, every text in double quotes.

Quoted, no text is taken for a number, a date or a word like ``no``; escaped, none has
a character that YAML does not allow as it is (YAML 1.2.2, 5.1, 5.7 and 7.3.1).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Noted", "document"]

WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Those that YAML 1.1 takes for a value that is no text, also as a key."""


class Noted:
    """A value with a comment above it."""

    def __init__(self, value: Any, *why: str) -> None:
        self.value = value
        self.why = why


def document(data: Mapping[str, Any]) -> str:
    """The text of one document."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Any) -> Iterator[str]:
    """The lines of a dict or list that is not empty."""
    for key, value in (
        data.items() if isinstance(data, Mapping) else ((None, each) for each in data)
    ):
        if isinstance(value, Noted):
            yield from (f"# {line}" for line in value.why)
            value = value.value
        mark = "-" if key is None else f"{_key(key)}:"
        if not _is_nested(value):
            yield f"{mark} {_scalar(value)}"
        elif key is None:
            first, *rest = _lines(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        else:
            yield mark
            yield from (f"  {line}" for line in _lines(value))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str) and bool(value)


def _key(key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key) and key.lower() not in WORDS
    return key if plain else _scalar(key)


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return f'"{"".join(map(_character, value))}"'
        case Mapping():
            return "{}"
        case _:
            return "[]"


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08X}"
