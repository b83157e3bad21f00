"""The file of a cluster's events: written, turned over, torn, lost, and read as it grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher.events.changes import ScaleBegun
from launcher.events.cluster import AppLoading, ClusterStopped
from launcher.state.event_log import MOST_BYTES, EventLog, EventReader

NOON = datetime(2026, 1, 2, 12, 0, 0, 7000, tzinfo=UTC)


@dataclass
class Place:
    name: str
    path: str
    dirfd: int
    findable: bool = True


class Scene:
    """A cluster's folder, the writer of its events, and a reader."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.place = Place("web", str(path), os.open(path, os.O_RDONLY))
        self.said: list[str] = []
        self.now = NOON
        self.log = EventLog(self.place, self.said.append, lambda: self.now)
        self.reader = EventReader()

    def close(self) -> None:
        self.log.close()
        self.reader.close()
        os.close(self.place.dirfd)

    def keep(self, *numbers: int) -> None:
        for number in numbers:
            self.log.keep(ScaleBegun(0, number))

    def last(self, count: int = 15) -> list[int]:
        return _numbers(self.reader.last(self.place.dirfd, count))

    def more(self) -> list[int]:
        return _numbers(self.reader.more(self.place.dirfd))


def _numbers(events: list[Mapping[str, Any]]) -> list[int]:
    return [event["workers"] for event in events]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "web")
    yield scene
    scene.close()


def test_a_line_is_an_object_for_this_user_only(scene: Scene) -> None:
    scene.log.keep(AppLoading("caf\N{LATIN SMALL LETTER E WITH ACUTE} \x1b[31m\u202e\n"))
    file = scene.path / "events.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    (line,) = file.read_text().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "ts": "2026-01-02T12:00:00.007Z",
        "name": "web",
        "event": "app_loading",
        "text": "loading 'caf\N{LATIN SMALL LETTER E WITH ACUTE} \\x1b[31m\\u202e\\n' …",
        "app": "caf\N{LATIN SMALL LETTER E WITH ACUTE} \x1b[31m\u202e\n",
    }


def test_a_reader_has_the_last_ones_and_then_each_that_comes_once(scene: Scene) -> None:
    assert scene.last() == scene.more() == []
    scene.keep(1, 2, 3)
    assert scene.more() == [1, 2, 3]
    assert EventReader().last(scene.place.dirfd, 2)[0]["workers"] == 2
    scene.keep(4)
    assert scene.more() == [4]
    assert scene.more() == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(scene: Scene) -> None:
    scene.keep(1)
    file = scene.path / "events.jsonl"
    line = file.read_bytes().replace(b'"workers": 1', b'"workers": 2')
    with file.open("ab", buffering=0) as writer:
        writer.write(line[:20])
        assert scene.last() == [1]
        writer.write(line[20:])
    assert scene.more() == [2]


def test_a_torn_last_line_does_no_harm(scene: Scene) -> None:
    scene.keep(1)
    with (scene.path / "events.jsonl").open("ab") as file:
        file.write(b'{"ts": "2026-01-0')
    assert scene.last() == [1]
    scene.keep(2, 3)
    assert scene.more() == [2, 3]
    assert _numbers(EventReader().last(scene.place.dirfd, 15)) == [1, 2, 3]


@pytest.mark.parametrize("damage", [b"\0\xff\n", b"[]\n", b'{"ts": 1}\n', b"{}\n", b"[" * 9999])
def test_what_is_no_event_is_passed_over(scene: Scene, damage: bytes) -> None:
    (scene.path / "events.jsonl").write_bytes(damage)
    scene.keep(1)
    assert scene.last() == [1]


def test_two_files_of_a_mebibyte_are_the_most(scene: Scene) -> None:
    seen = scene.last()
    for number in range(30_000):
        scene.now += timedelta(seconds=1)
        scene.keep(number)
        if number % 1000 == 0:
            seen += scene.more()
    seen += scene.more()
    assert seen == [*range(30_000)], "a reader that looks in time misses none"
    sizes = {path.name: path.stat().st_size for path in scene.path.iterdir()}
    assert set(sizes) == {"events.jsonl", "events.jsonl.1"}
    assert max(sizes.values()) <= MOST_BYTES
    assert sizes["events.jsonl.1"] > MOST_BYTES - 1000
    kept = _numbers(EventReader().last(scene.place.dirfd, 100_000))
    assert kept == [*range(kept[0], 30_000)]
    assert scene.said == []


def test_what_cannot_be_written_is_lost_and_that_is_said_once(scene: Scene) -> None:
    path = scene.path / "events.jsonl"
    path.mkdir()
    scene.keep(1, 2)
    assert scene.said == [f"{path}: Is a directory; events are lost until it can be written"]
    path.rmdir()
    scene.keep(3)
    assert scene.last() == [3]
    path.rename(scene.path / "elsewhere")
    scene.log.close()
    path.mkdir()
    scene.keep(4)
    assert len(scene.said) == 2, "it had been possible meanwhile"


def test_a_disk_that_fills_up_loses_events_and_no_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.keep(1)
    write = os.write
    room = 30

    def full(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(fd, data[:room])
        room -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        scene.keep(2, 3)
    assert len(scene.said) == 1
    assert "No space left on device" in scene.said[0]
    scene.keep(4)
    assert scene.last() == [1, 4]


def test_nothing_planted_is_followed(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (scene.path / "events.jsonl").symlink_to(other)
    scene.keep(1)
    assert other.read_text() == "mine"
    assert scene.last() == []
    (scene.path / "events.jsonl").unlink()
    os.mkfifo(scene.path / "events.jsonl")
    scene.keep(2)
    assert scene.last() == []


def test_where_the_folder_is_made_anew_it_goes_on_there(scene: Scene, tmp_path: Path) -> None:
    scene.keep(1)
    (scene.path / "events.jsonl").unlink()
    scene.path.rmdir()
    scene.path.mkdir()
    os.close(scene.place.dirfd)
    scene.place.dirfd = os.open(scene.path, os.O_RDONLY)
    scene.keep(2)
    assert scene.last() == [2]


def test_a_reader_waits_where_the_file_was_removed(scene: Scene) -> None:
    scene.keep(1)
    assert scene.last() == [1]
    (scene.path / "events.jsonl").unlink()
    assert scene.more() == []
    scene.keep(2)
    assert scene.more() == [2]


def test_a_line_has_the_time_of_day(scene: Scene) -> None:
    before = datetime.now(UTC)
    log = EventLog(scene.place, scene.said.append)
    log.keep(ClusterStopped())
    log.close()
    (event,) = scene.reader.last(scene.place.dirfd, 1)
    when = datetime.fromisoformat(event["ts"])
    assert before - timedelta(seconds=1) < when <= datetime.now(UTC)


def test_nothing_is_kept_where_no_command_could_find_it(scene: Scene) -> None:
    scene.place.findable = False
    scene.log.keep(ClusterStopped())
    assert [*scene.path.iterdir()] == []
