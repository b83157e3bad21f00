"""What the emitter writes, PyYAML reads back, whatever the texts are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.export.yaml import Noted, document
from tests.export.tools import needs

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS.filter(bool), inner),
)


@settings(deadline=None)  # the first example imports PyYAML
@given(st.dictionaries(TEXTS.filter(bool), DATA, min_size=1))
def test_any_data_is_read_back(data: dict[str, Any]) -> None:
    (yaml,) = needs("yaml")
    assert yaml.safe_load(document(data)) == data


def test_words_that_yaml_takes_for_something_else_stay_texts() -> None:
    (yaml,) = needs("yaml")
    data = {word: word for word in ("no", "on", "null", "1e3", "0x1", "2026-11-27", "~", "=", "<<")}
    assert yaml.safe_load(document({"texts": data})) == {"texts": data}


def test_a_comment_stands_above_what_it_is_about() -> None:
    text = document({"a": [Noted({"b": 1, "c": [2]}, "why")], "d": Noted("x", "one", "two")})
    assert text == 'a:\n  # why\n  - b: 1\n    c:\n      - 2\n# one\n# two\nd: "x"\n'
