"""Prose has subjects: a worker, a thread, a connection; none that a reader has to guess."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

GUESSED = re.compile(r"\b(who|whoever|somebody|nobody|everybody|anybody)\b", re.IGNORECASE)
"""Subjects that leave open which process, thread or user is meant."""


class Remark(NamedTuple):
    """A comment or a docstring, of a module, class, function, attribute or constant."""

    line: int
    text: str


def remarks(source: str) -> Iterator[Remark]:
    """What a module says to its readers; not what the program says to its users."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Remark(token.start[0], token.string)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str(text), lineno=line)):
                yield Remark(line, text)


def guessed(source: str) -> list[tuple[int, str]]:
    """The lines on which a remark begins that has such a subject, with the word."""
    return sorted(
        (remark.line, found[0])
        for remark in remarks(source)
        for found in GUESSED.finditer(remark.text)
    )


def test_comments_and_docstrings_say_which_party_is_meant() -> None:
    files = sorted((ROOT / "launcher").rglob("*.py"))
    assert files
    found = {
        str(path.relative_to(ROOT)): words for path in files if (words := guessed(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        '"""Whoever reads this."""',
        'def one() -> None:\n    """Nobody is told."""',
        'class One:\n    two = 2\n    """For somebody."""',
        "one = 1  # who has it",
    ],
    ids=["of a module", "of a function", "of an attribute", "in a comment"],
)
def test_one_that_is_to_be_guessed_is_found(source: str) -> None:
    assert len(guessed(source)) == 1


def test_names_and_what_users_read_may_have_these_words() -> None:
    assert guessed('def tell(who: str) -> str:\n    return f"{who}: nobody answers"') == []
