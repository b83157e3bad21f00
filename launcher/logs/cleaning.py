"""What must not reach a terminal raw, and what is shown in its place."""

import json
import re
from typing import Any

__all__ = ["harmless_json", "printable", "printable_lines", "quotable"]

# C0, DEL, C1; the marks, embeddings, overrides and isolates that reorder text; the separators
# that some terminals take for line ends; halves of surrogate pairs, which nothing can print.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE = re.compile(f"[{_CONTROLS}]")
_UNPRINTABLE_IN_LINES = re.compile(f"(?![\n\t])[{_CONTROLS}]")
_UNQUOTABLE = re.compile(f'[{_CONTROLS}"\\\\]')


def printable(text: str) -> str:
    """The text with everything that could steer a terminal shown as its escape.

    For every value that came from a file or a socket: an app's error, a name, a path.
    """
    return _UNPRINTABLE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """As `printable`, but a text of several lines, such as a traceback, stays one."""
    return _UNPRINTABLE_IN_LINES.sub(_escape, text)


def quotable(text: str) -> str:
    """As `printable`, and fit to stand between double quotes, as in Apache's logs."""
    return _UNQUOTABLE.sub(_escape_or_quote, text)


def harmless_json(value: object, **form: Any) -> str:
    """JSON that can be shown; ``form`` is as of `json.dumps`.

    That escapes all that is not ASCII, and all controls but DEL.
    """
    return json.dumps(value, **form).replace("\x7f", "\\u007f")


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _escape_or_quote(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in '"\\' else _escape(found)
