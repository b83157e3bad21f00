"""What is escaped, and what is left as it is."""

from __future__ import annotations

import unicodedata

import pytest

from launcher.logs.cleaning import printable, printable_lines, quotable

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CLEANERS = [printable, printable_lines, quotable]


@pytest.mark.parametrize("clean", CLEANERS)
def test_nothing_that_steers_a_terminal_is_left(clean: object, subtests: pytest.Subtests) -> None:
    assert callable(clean)
    for character in [*CONTROLS, *BIDI, "\u2028", "\u2029", "\ud800"]:
        shown = clean(f"a{character}b")
        with subtests.test(ascii(character)):
            if clean is printable_lines and character in "\n\t":
                assert shown == f"a{character}b"
            else:
                assert shown == f"a{ascii(character)[1:-1]}b"
                assert all(unicodedata.category(each)[0] != "C" for each in shown)


@pytest.mark.parametrize("clean", CLEANERS)
def test_what_people_write_is_left_as_it_is(clean: object) -> None:
    assert callable(clean)
    text = "größe 日本語 עברית 🎉 100 % 'quoted'"
    assert clean(text) == text


def test_between_quotes() -> None:
    assert quotable('say "hi" \\ \x1b') == r"say \"hi\" \\ \x1b"
