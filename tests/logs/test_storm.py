"""Several processes and threads write as fast as they can while their file rotates."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from launcher.logs.reading import LogReader
from tests.logs.conftest import Folder
from tests.support import ROOT, Cluster, StartCluster, eventually

pytestmark = pytest.mark.slow

WRITER = """
import logging, os, sys, threading
from launcher.logs.files import Limits
from launcher.logs.streams import FileOutput
path, name, threads, lines, size, keep = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
FileOutput(os.open(path, os.O_RDONLY), "0", Limits(1 << 20, keep))
logging.basicConfig(level="INFO", format="%(message)s")
def write(thread):
    for number in range(lines):
        head = f"{name}.{thread} {number} "
        line = head + "x" * (size - len(head) - 1)
        if number % 2:
            print(line)
        else:
            logging.info(line)
started = [threading.Thread(target=write, args=(index,)) for index in range(threads)]
for thread in started: thread.start()
for thread in started: thread.join()
"""

LINE = re.compile(r"(\w+\.\d+) (\d+) (x+)\n")
MEGABYTE = 1 << 20


def start(folder: Folder, name: str, *numbers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(folder.path), name, *map(str, numbers)]
    return subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)})


def files_of(path: Path, source: str = "0") -> Iterator[Path]:
    """The oldest first."""
    yield from sorted(path.glob(f"{source}.log.*"), key=lambda file: -int(file.suffix[1:]))
    yield path / f"{source}.log"


def numbers_by_writer(path: Path, size: int) -> dict[str, list[int]]:
    """What each writer's lines say, in their order; every line must be whole."""
    found: dict[str, list[int]] = defaultdict(list)
    for file in files_of(path):
        assert file.stat().st_size <= MEGABYTE, file
        with file.open() as lines:
            for line in lines:
                match = LINE.fullmatch(line)
                assert match, f"mixed: {line[:100]!r}"
                assert len(line) == size
                found[match[1]].append(int(match[2]))
    return found


def test_no_line_is_lost_and_none_is_mixed(folder: Folder) -> None:
    """4 writers of 10,000 lines of 4 KB, through `print` and logging, rotating at 1 MB."""
    writers = [start(folder, name, 2, 10_000, 4096, 300) for name in ("one", "two")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found = numbers_by_writer(folder.path, 4096)
    assert sorted(found) == ["one.0", "one.1", "two.0", "two.1"]
    for numbers in found.values():
        assert numbers == list(range(10_000))
    assert len(folder.names()) > 150


def test_the_disk_stays_within_count_and_one_files(folder: Folder) -> None:
    writers = [start(folder, f"w{index}", 1, 2500, 4096, 3) for index in range(3)]
    most = 0
    while any(writer.poll() is None for writer in writers):
        most = max(most, folder.size())
    assert [writer.wait() for writer in writers] == [0] * 3
    assert 3 * MEGABYTE < most <= 4 * MEGABYTE
    assert len(folder.names()) == 4
    for numbers in numbers_by_writer(folder.path, 4096).values():
        assert numbers == list(range(numbers[0], 2500))


def test_killed_in_the_middle_of_it(folder: Folder) -> None:
    """Any process may die at any instant: the others go on, and only its last line may be cut."""
    survivor = start(folder, "survivor", 1, 3000, 4096, 300)
    for round_ in range(6):
        victim = start(folder, f"victim{round_}", 2, 100_000, 4096, 300)
        seen = folder.size()
        eventually(lambda seen=seen: folder.size() > seen + 3 * MEGABYTE, 30)  # type: ignore[misc]
        victim.kill()
        victim.wait()
    assert survivor.wait(60) == 0
    text = folder.everything()
    numbers = [int(match[2]) for match in LINE.finditer(text) if match[1] == "survivor.0"]
    assert numbers == list(range(3000))
    broken = [line for line in text.splitlines(keepends=True) if not LINE.fullmatch(line)]
    assert len(broken) <= 6


def test_a_follower_sees_every_line(folder: Folder) -> None:
    reader = LogReader()
    reader.last(folder.fd, 0)
    writers = [start(folder, f"w{index}", 1, 3000, 1024, 20) for index in range(3)]
    lines = []
    while any(writer.poll() is None for writer in writers):
        lines += reader.more(folder.fd)
    lines += reader.more(folder.fd)
    reader.close()
    for index in range(3):
        mine = [line.text for line in lines if line.text.startswith(f"w{index}.0 ")]
        assert [int(text.split()[1]) for text in mine] == list(range(3000))


def test_old_and_new_workers_of_a_slot_during_a_reload(start_background: StartCluster) -> None:
    cluster = start_background(
        *("-w", "1", "--threads", "4", "--log-max-size", "1M", "--log-keep", "300")
    )

    def storm(name: str) -> int:
        url = f"{cluster.url}/storm/{name}/2/1500/2048"
        return requests.get(url, timeout=60).status_code

    with ThreadPoolExecutor() as pool:
        old = pool.submit(storm, "old")
        eventually(lambda: _log(cluster).stat().st_size > 0)
        assert cluster.command("reload", "chatty").returncode == 0
        new = pool.submit(storm, "new")
        assert (old.result(), new.result()) == (200, 200)
    assert cluster.workers()[0]["id"] == 2
    found: dict[str, list[int]] = defaultdict(list)
    for file in files_of(_log(cluster).parent):
        for match in LINE.finditer(file.read_text()):
            found[match[1]].append(int(match[2]))
    assert found == {name: [*range(1500)] for name in ("old.0", "old.1", "new.0", "new.1")}


def _log(cluster: Cluster) -> Path:
    return cluster.home / "chatty" / "logs" / "0.log"
