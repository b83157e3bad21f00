"""Writes the tables of states in architecture.md, from the code.

``python docs/state_tables.py`` brings them up to date. What a state means is the docstring of its
member. tests/test_architecture.py fails while the page and the code differ.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from launcher.policy.lifecycle import (  # noqa: E402 - also without an installed launcher
    WORKER_TRANSITIONS,
    ClusterState,
    WorkerState,
)
from launcher.worker.connection.phase import Phase  # noqa: E402

PAGE = Path(__file__).parent / "architecture.md"

_TABLE = re.compile(
    r"(?P<begin><!-- (?P<name>\w+): .*? -->\n\n).*?(?P<end>\n<!-- end of \w+ -->)", re.DOTALL
)


def meanings(states: type[Enum]) -> dict[str, str]:
    """What the members of an enumeration mean, by name: the string below each of them."""
    body = ast.parse(inspect.getsource(states)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for member, below in zip(body.body, body.body[1:], strict=False):
        match member, below:
            case ast.Assign([ast.Name(name)]), ast.Expr(ast.Constant(str(text))):
                words = " ".join(text.split()).replace("``", "`").removesuffix(".")
                found[name] = words[0].lower() + words[1:]
    assert found.keys() == {state.name for state in states}
    return found


def _table(*rows: Sequence[str]) -> str:
    heading, *others = (f"| {' | '.join(row)} |\n".replace("|  |", "| |") for row in rows)
    return "".join([heading, f"{'|---' * len(rows[0])}|\n", *others])


def _after(state: WorkerState) -> str:
    return " ".join(f"`{each}`" for each in WorkerState if each in WORKER_TRANSITIONS[state])


def _tables() -> Iterator[tuple[str, str]]:
    means = meanings(WorkerState)
    rows = [(f"`{each}`", means[each.name], _after(each)) for each in WorkerState]
    yield "WorkerState", _table(("state", "means", "can become"), *rows)
    means = meanings(ClusterState)
    pairs = [(f"`{each}`", means[each.name]) for each in ClusterState]
    yield "ClusterState", _table(("state", "means"), *pairs)
    means = meanings(Phase)
    pairs = [(f"`{each.name}`", means[each.name]) for each in Phase]
    yield "Phase", _table(("phase", "a parked connection waits for"), *pairs)


def up_to_date(page: str) -> str:
    """The text of the page with its tables as the code has them now."""
    tables = dict(_tables())
    assert {found["name"] for found in _TABLE.finditer(page)} == tables.keys()
    return _TABLE.sub(lambda found: found["begin"] + tables[found["name"]] + found["end"], page)


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text()))
