"""The README's pictures: their words are those that the program prints today."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.network import own_network
from tests.support import ROOT

PICTURES = ROOT / "docs/pictures"
TEXT = "{http://www.w3.org/2000/svg}text"


def texts(picture: Path) -> list[str]:
    """What stands in it, in the order of the lines; a line has one for each colour."""
    found = ElementTree.parse(picture).iter(TEXT)
    return [(element.text or "").replace("\N{NO-BREAK SPACE}", " ") for element in found]


def words(picture: Path) -> set[str]:
    """Those of a picture, with 0 for each figure and its unit."""
    return {re.sub(r"\d[\d.]*\w*", "0", word) for text in texts(picture) for word in text.split()}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_their_words_come_from_the_program(tmp_path: Path) -> None:
    with own_network(3000) as prefix:
        command = [*prefix, sys.executable, str(PICTURES / "draw.py"), str(tmp_path)]
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=120, check=True)
    drawn = sorted(tmp_path.glob("*.svg"))
    assert [path.name for path in drawn] == [path.name for path in sorted(PICTURES.glob("*.svg"))]
    for path in drawn:
        gone = words(PICTURES / path.name) - words(path)
        assert gone == set(), f"draw {path.name} anew: python docs/pictures/draw.py"


def test_the_session_shows_that_workers_take_turns_and_nothing_is_lost() -> None:
    shown = [text.strip() for text in texts(PICTURES / "session.svg") if text.strip()]
    answers = [text.removeprefix("Running on worker with id #") for text in shown if "id #" in text]
    assert answers == ["1", "2", "1", "2"]
    assert shown[shown.index("wait; grep -c Running answers") + 1] == "300"
    assert any(text.startswith("kill -9 ") for text in shown)


def test_nothing_is_fetched_for_them() -> None:
    for picture in PICTURES.glob("*.svg"):
        assert "url(http" not in picture.read_text().replace('"', "")
