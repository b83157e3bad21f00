"""Every example of every help text does what it says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from launcher.cli.commands import COMMANDS
from tests.cli.tools import Console, settled

ENDLESS = ("run", "monit", "-f", "--follow")
"""Words of examples that go on until somebody ends them."""

WEB = ("web:app", "-w", "1", "-p", "0")


def examples(help_text: str) -> list[str]:
    """The command lines after "Example": all of the line, without what introduces it."""
    found = re.findall(r"Example[^:\n]*: ((?:.|\n +\S)*)", help_text)
    return [" ".join(each.split()) for each in found]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A project as the examples have it: an app ``myapp``, a cluster ``web``, a saved set."""
    place = tmp_path_factory.mktemp("examples")
    (place / "project").mkdir()
    console = Console(place / "project", place / "home")
    console.write("myapp.py", "from web import app\n")
    console.ok("start", *WEB)
    console.ok("save")
    yield console
    console.close()


@pytest.fixture
def prepared(project: Console) -> Console:
    """The project as it was in the beginning, whatever the example before has done to it."""
    if not project.primary("web"):
        project.ok("start", *WEB)
    if project.primary("myapp"):
        project.ok("delete", "myapp")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command(prepared: Console, command: str) -> None:
    lines = examples(prepared.ok(command, "--help"))
    assert lines, f"{command} --help has no example"
    for line in lines:
        if command == "resurrect":
            prepared.ok("stop", "web")
        _try(prepared, line)
        if " start " in f" {line} ":
            assert prepared.list()["myapp"]["status"] == "online"


def _try(console: Console, line: str) -> None:
    # A port that is free here stands for the one in the example.
    line = line.replace(":8000", "127.0.0.1:0")
    script = line.replace("python -m launcher", f"{shlex.quote(sys.executable)} -m launcher")
    endless = any(word in line.split() for word in ENDLESS) and "--once" not in line
    process = subprocess.Popen(
        ["bash", "-c", f"exec {script}" if endless and "=" not in script.split()[0] else script],
        cwd=console.folder,
        env=console.environ | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if endless:
        if " run " in line:
            settled(console, "myapp", status="online")
        else:
            assert process.stdout
            os.read(process.stdout.fileno(), 1)  # it is at it
        os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=90)
    expected = (0, 130) if endless else (0,)
    assert process.returncode in expected, (line, out, err)


@pytest.mark.slow
def test_the_examples_of_the_whole(prepared: Console) -> None:
    lines = re.findall(r"^ *(python -m launcher .*?)  +\S", prepared.ok("--help"), re.MULTILINE)
    assert len(lines) >= 5
    prepared.ok("start", "myapp:app", "-p", "0")
    prepared.ok("stop", "myapp")
    for line in lines:
        if " run " in line:
            continue  # as that of run --help, and it would need port 3000
        if " start " in line:
            line = "python -m launcher start myapp"  # the entry: its port is free
        _try(prepared, line)
