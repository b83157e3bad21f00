"""In which line of a TOML document something stands, which `tomllib` does not tell."""

import re
import tomllib
from collections.abc import Iterator

__all__ = ["Path", "lines", "refused", "with_line"]

TOKEN = re.compile(
    r'''
    """(?:[^\\]|\\.)*?"{3,5} | \'{3}.*?\'{3,5}  # strings of several lines
    | "(?:[^"\\\n]|\\.)*" | \'[^\'\n]*\'
    | \#[^\n]* | [][{}] | \n
    ''',
    re.DOTALL | re.VERBOSE,
)
"""What is to be known of TOML to find the ends of statements in it."""

DEPTH = 4
"""Keys that lead to the deepest place there is: ``apps.web.env.KEY``."""

Path = tuple[str, ...]
"""The keys that lead to a value: ``("apps", "web", "threads")``."""


def lines(text: str) -> dict[Path, int]:
    """The line in which each table and value of a valid document begins.

    A statement is a document by itself; what it defines is what that gives.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        header = statement.lstrip().startswith("[")
        paths = list(_paths(tomllib.loads(statement), DEPTH))
        for place in paths:
            found.setdefault(place if header else (*table, *place), line)
        if header:
            table = max(paths, key=len)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a document and the lines they begin in: one ends with its line.

    A line ends none if it is in a string of several, or in brackets.
    """
    start, depth, first, line = 0, 0, 1, 1
    for token in TOKEN.finditer(text):
        line += token[0].count("\n")
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if token[0] == "\n" and not depth:
            yield first, text[start : token.end()]
            start, first = token.end(), line
    yield first, text[start:]


def _paths(value: object, depth: int) -> Iterator[Path]:
    for key, inner in value.items() if depth and isinstance(value, dict) else ():
        yield (key,)
        yield from ((key, *rest) for rest in _paths(inner, depth - 1))


def refused(text: str) -> int:
    """The line of the first statement that cannot be read."""
    for line, statement in _statements(text):
        try:
            tomllib.loads(statement)
        except (ValueError, RecursionError):
            return line
    return 1


def with_line(message: str, text: str) -> str:
    """``:3: Expected '=' after a key`` from what tomllib says."""
    problem, _, place = message.rpartition(" (at ")
    match = re.match(r"line (\d+)", place)
    return f":{match[1] if match else text.rstrip().count(chr(10)) + 1}: {problem or message}"
