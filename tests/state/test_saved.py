"""The saved set: what is written is read, and what is damaged is told and passed over."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state import saved
from launcher.state.home import Home

WEB = Settings(name="web", chdir="/", threads=3, sources={"threads": "--threads"})
ADMIN = Settings(name="admin", chdir="/")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def home(path: Path) -> Iterator[Home]:
    with Home.at(str(path)) as home:
        yield home


def test_what_is_written_is_read(home: Home) -> None:
    saved.write(home, [WEB, ADMIN], {"web": ["A", "B"]})
    assert saved.read(home) == ([WEB, ADMIN], {"web": ["A", "B"]}, [])


def test_nothing_was_saved(home: Home) -> None:
    with pytest.raises(LauncherError, match=r"^nothing was saved: python -m launcher save$"):
        saved.read(home)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "\0" * 500,
        "[]",
        '{"version": 9}',
        '{"version": 2, "clusters": []}',
        '{"version": 1, "clusters": {}}',
        '{"version": 1, "clusters": [{}]}',
        '{"version": 1, "clusters": [1]}',
        '{"version": 1, "clusters": [{"app": "x"}]}',
        json.dumps({"version": 1, "clusters": [WEB.to_json() | {"bind": ["junk"]}]}),
    ],
)
def test_a_damaged_one_is_told_and_the_one_before_is_taken(
    home: Home, path: Path, damage: str
) -> None:
    saved.write(home, [WEB], {})
    saved.write(home, [ADMIN], {})
    (path / ".saved.json").write_text(damage)
    found = saved.read(home)
    assert found.clusters == [WEB]
    assert found.problems == [
        f"{path}/.saved.json is damaged: took the set saved before it",
    ]
    saved.write(home, [ADMIN], {})
    (path / ".saved.json").unlink()
    assert saved.read(home).clusters == [WEB], "the damaged one has not taken its place"


def test_when_both_are_damaged_the_newest_is_named(home: Home, path: Path) -> None:
    for name in (".saved.json", ".saved-before.json"):
        (path / name).write_text("{")
    with pytest.raises(LauncherError, match=rf"^{path}/\.saved\.json is damaged$"):
        saved.read(home)


def test_what_this_version_does_not_know_is_named(home: Home, path: Path) -> None:
    odd = {**WEB.to_json(), "from_tomorrow": 1}
    variables = {"web": ["A", 1], "admin": "B"}
    text = json.dumps({"version": 1, "clusters": [odd], "variables": variables})
    (path / ".saved.json").write_text(text)
    assert saved.read(home) == (
        [WEB],
        {"web": ["A"]},
        ["web: this version does not know 'from_tomorrow': left out"],
    )
    (path / ".saved.json").write_text(json.dumps({"version": 1, "clusters": []}))
    assert saved.read(home) == ([], {}, []), "an older version has saved no variables"


def test_two_at_once(home: Home, path: Path) -> None:
    other = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LauncherError, match=r"^another save is under way: nothing saved$"):
            saved.write(home, [WEB], {})
    finally:
        os.close(other)
    assert os.listdir(path) == []
