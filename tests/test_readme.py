"""README.md and docs/walkthrough.md are true: every block is run, tables are as in the code.

How its blocks are marked, after the three backticks:

* ``text``: a drawing.
* ``sh serve`` and ``sh test``: the two commands of the quickstart.
* ``console``: a second terminal. Each line after ``$ `` is run as it is written, and has to print
  what stands below it.
* ``console server``: the first terminal. Its command goes on running until a later block starts
  another, and is then interrupted by Ctrl-C. Without a command: what it prints next.
* ``python NAME``, ``toml NAME``: the file NAME.

In what is printed, times, pids, sizes and widths of columns are free, and ``…`` stands for any
lines. The ids of workers are free too, but they have to agree with each other: what is #2 in the
README stays one and the same worker, and no other one, for as long as its cluster runs.

The walk-through is run in a copy of the tree, where ``.venv/bin/python`` is the Python that runs
the tests, and on a network of its own: its ports are nobody else's. The quickstart's first
command is run for real, with pip, where the tests of installing are (``-m install``). Its second
command is this test suite, so it is only compared with what ``.ci/run`` calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher import __version__
from launcher.cli.commands import COMMANDS
from launcher.config.settings import POLICIES
from launcher.policy.lifecycle import WORKER_TRANSITIONS, ClusterState
from tests.network import own_network
from tests.support import ROOT, eventually, online

README = (ROOT / "README.md").read_text()
DOCS = [README, *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))]
RUN = README + (ROOT / "docs/walkthrough.md").read_text()
"""What a reader types, in the order of reading."""

# Reading it


@dataclass(frozen=True)
class Step:
    """A command, empty when there is none, and what it is to print."""

    command: str
    expected: str


@dataclass(frozen=True)
class Block:
    """``info`` is what stands behind the backticks."""

    info: str
    text: str

    @property
    def steps(self) -> list[Step]:
        """The commands of a console block with what each prints."""
        before, *parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        steps = [Step(*part.rstrip("\n").partition("\n")[::2]) for part in parts]
        return [Step("", before.rstrip("\n")), *steps] if before else steps


BLOCKS = [Block(*match) for match in re.findall(r"(?ms)^```(\S.*?)\n(.*?)^```$", RUN)]


def only_block(info: str) -> str:
    """The text of the one block that is marked so."""
    (block,) = [block for block in BLOCKS if block.info == info]
    return block.text.strip()


def table(heading: str) -> dict[str, list[str]]:
    """The words in backticks of each row below ``heading``, by the first of them."""
    (text,) = [text for text in DOCS if f"\n{heading}\n" in text]
    rows = text.partition(f"\n{heading}\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert rows, heading
    words = [re.findall(r"`([^`]+)`", row) for row in rows]
    return {first: rest for first, *rest in words}


# What a command is to print


_TOKEN = re.compile(
    r"(?P<gap>^…\n?)"
    r"|(?P<id>(?<=#)\d+|(?<=worker )\d+)"
    r"|(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"
    r"|(?P<pid>(?<=pid )\d+|(?<= )\d{4,}(?= ))"
    r"|(?P<quantity>(?<= )(?:(?:[\d.]+[smhdBKMG%])+|\d+\.\d+)(?= |$))"
    r"|(?P<space> {2,})",
    re.MULTILINE,
)
_FREE = {
    "gap": r"(?:.*\n)*?",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "pid": r"\d+",
    "quantity": r"\S+",
    "space": r" {2,}",
}


class Expectation:
    """Compares what is printed with the README, and remembers which worker is which."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        """By the id in the README: the real one."""

    def end(self, expected: str, printed: str, start: int = 0) -> int | None:
        """Where in ``printed`` the expected lines end; None when they are not there."""
        if not expected:
            return start
        found = re.compile(self._pattern(f"{expected}\n")).match(printed, start)
        if found:
            self._learn(found.groupdict())
            return found.end()
        return None

    def _pattern(self, expected: str) -> str:
        pattern, done, unknown = "", 0, set[str]()
        for token in _TOKEN.finditer(expected):
            pattern += re.escape(expected[done : token.start()])
            pattern += self._free(token, unknown)
            done = token.end()
        return pattern + re.escape(expected[done:])

    def _free(self, token: re.Match[str], unknown: set[str]) -> str:
        assert token.lastgroup
        if token.lastgroup != "id":
            return _FREE[token.lastgroup]
        known = self._ids.get(token[0])
        if known:
            return known
        if token[0] in unknown:
            return f"(?P=id{token[0]})"
        unknown.add(token[0])
        return rf"(?P<id{token[0]}>\d+)"

    def _learn(self, ids: dict[str, str]) -> None:
        self._ids |= {name.removeprefix("id"): real for name, real in ids.items()}
        assert len({*self._ids.values()}) == len(self._ids), f"two are the same: {self._ids}"


# The terminals


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a reader's shell: nothing is set for a server, and LAUNCHER_HOME is of its own."""
    ours = ("LAUNCHER_", "FLASK_", "WEB_CONCURRENCY", "PORT", "PYTHON", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"LAUNCHER_HOME": str(folder / "home"), **more}


class Terminal:
    """The first terminal: something runs in its foreground."""

    def __init__(
        self, command: str, *, prefix: Sequence[str], tree: Path, env: dict[str, str]
    ) -> None:
        self.command = command
        self._log_path = tree / "first-terminal.log"
        with self._log_path.open("wb") as log:
            self._shell = subprocess.Popen(
                [*prefix, "bash", "-c", command],
                cwd=tree,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is a signal to everything in the foreground
                preexec_fn=_heed_ctrl_c,
            )

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log_path.read_text()

    def log_while_it_runs(self) -> str:
        """What it has printed; the test fails when it will print no more."""
        if self._shell.poll() is not None:
            pytest.fail(f"{self.command} ended with {self._shell.returncode}:\n{self.log}")
        return self.log

    def ctrl_c(self) -> None:
        """End it as a reader does; it has to end well, also when it has ended already."""
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGINT)
        assert self._shell.wait(15) == 0, f"{self.command}:\n{self.log}"

    def close(self) -> None:
        """Leave nothing behind, whatever has happened."""
        if self._shell.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                os.killpg(self._shell.pid, signal.SIGTERM)
                self._shell.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()


def _heed_ctrl_c() -> None:
    """A shell has its background jobs ignore it, and this may be below one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Reader:
    """Goes through the README with two terminals."""

    def __init__(self, prefix: Sequence[str], tree: Path, env: dict[str, str]) -> None:
        self._place: dict[str, Any] = {"prefix": prefix, "tree": tree, "env": env}
        self._tree = tree
        self._first: Terminal | None = None
        self._seen = 0
        self._expectation = Expectation()

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        kind, _, argument = block.info.partition(" ")
        if kind in ("python", "toml"):
            (self._tree / argument).write_text(block.text)
        elif argument == "server":
            for step in block.steps:
                self._serve(step)
        else:
            self._wait_until_calm()
            for step in block.steps:
                self._run(step)

    def close(self) -> None:
        """End what still runs, in the background as well."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._output(f"{_LAUNCHER} delete all")
        if self._first:
            self._first.close()

    def finish(self) -> None:
        """End what still runs, in the way that the README says."""
        if self._first:
            self._first.ctrl_c()

    def _serve(self, step: Step) -> None:
        if step.command:
            self.finish()
            self._first = Terminal(step.command, **self._place)
            self._seen, self._expectation = 0, Expectation()
        assert self._first
        first = self._first

        def end() -> int | None:
            return self._expectation.end(step.expected, first.log_while_it_runs(), self._seen)

        try:
            self._seen = eventually(end, within=60)
        except pytest.fail.Exception:
            print(f"--- expected:\n{step.expected}\n--- the first terminal:\n{first.log}")
            raise

    def _run(self, step: Step) -> None:
        printed = self._output(step.command)
        end = self._expectation.end(step.expected, printed)
        if end is not None and step.expected.endswith("…"):
            end = len(printed)
        log = self._first.log if self._first else ""
        assert end == len(printed), (
            f"$ {step.command}\n--- expected:\n{step.expected}\n--- printed:\n{printed}"
            f"--- the first terminal:\n{log}"
        )

    def _output(self, command: str) -> str:
        return subprocess.run(
            [*self._place["prefix"], "bash", "-c", command],
            cwd=self._tree,
            env=self._place["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    def _wait_until_calm(self) -> None:
        """A reader is slower than the launcher: by now every worker has been replaced."""

        def calm() -> bool:
            return all(map(_is_complete, _parsed(self._output(f"{_LAUNCHER} list --json"))))

        eventually(calm)


_LAUNCHER = ".venv/bin/python -m launcher"


def _parsed(text: str) -> list[dict[str, Any]]:
    try:
        clusters: list[dict[str, Any]] = json.loads(text)
    except ValueError:
        raise AssertionError(text) from None
    return clusters


def _is_complete(cluster: dict[str, Any]) -> bool:
    complete: bool = len(online(cluster)) == cluster["workers_wanted"]
    return complete or cluster["status"] == "stopped"


# The place


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is checked out."""
    copy = tmp_path / "tree"
    left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture
def prefix() -> Iterator[list[str]]:
    with own_network(3000, 3001) as prefix:
        yield prefix


def _put_script(path: Path, *command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = " ".join(f"'{word}'" for word in command)
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)


# The blocks


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert RUN.count("\n```") == 2 * len(BLOCKS)
    kinds = r"text|sh (serve|test)|console( server)?|(python|toml) \S+"
    for block in BLOCKS:
        assert re.fullmatch(kinds, block.info), block


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_walk_through(prefix: list[str], tree: Path, tmp_path: Path) -> None:
    _put_script(tree / ".venv/bin/python", sys.executable)
    # In a terminal curl shows no progress.
    (tmp_path / ".curlrc").write_text("silent\nshow-error\n")
    reader = Reader(prefix, tree, environment(tmp_path, CURL_HOME=str(tmp_path)))
    with contextlib.closing(reader):
        for block in BLOCKS:
            if not block.info.startswith(("sh ", "text")):
                reader.follow(block)
        reader.finish()


@pytest.mark.install
def test_the_first_command_serves_in_an_environment_it_creates(tree: Path, tmp_path: Path) -> None:
    _put_script(tmp_path / "bin/python3", getattr(sys, "_base_executable", sys.executable))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    # That it is port 3000 without LAUNCHER_PORT is seen in the walk-through.
    env = environment(tmp_path, PATH=path, LAUNCHER_PORT="0")
    terminal = Terminal(only_block("sh serve"), prefix=(), tree=tree, env=env)
    with contextlib.closing(terminal):
        ready = r"'app' is ready at (http://127\.0\.0\.1:\d+),"
        found = eventually(lambda: re.search(ready, terminal.log_while_it_runs()), within=600)
        answer = requests.get(f"{found[1]}/clustered", timeout=10).text
        assert re.fullmatch(r"Running on worker with id #\d+", answer)
        assert (tree / ".venv/bin/flask").exists()
        assert not (tree / ".venv/bin/pytest").exists()
        terminal.ctrl_c()


def test_the_second_command_is_what_ci_calls() -> None:
    lines = [line.strip() for line in (ROOT / ".ci/run").read_text().splitlines()]
    assert only_block("sh test") in lines
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_second_command_only_adds_what_tests_need_to_the_environment() -> None:
    serve, test = only_block("sh serve"), only_block("sh test")
    more = " -r tests/requirements.txt"
    assert test.rpartition(" && ")[0] == serve.rpartition(" && ")[0] + more


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 250


def test_every_page_that_is_linked_exists() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        linked = re.findall(r"\]\((?!http)([^)#]+)", path.read_text())
        assert [link for link in linked if not (path.parent / link).exists()] == []


def test_every_heading_that_is_linked_exists() -> None:
    pages = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    found = 0
    for page in pages:
        for linked, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text()):
            target = page.parent / linked if linked else page
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{page.name}: {linked}#{anchor}"
            found += 1
    assert found


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


# The tables


def test_the_table_of_a_workers_states_is_the_table_of_transitions() -> None:
    documented = table("| state | means | can become |")
    assert documented.keys() == WORKER_TRANSITIONS.keys()
    for state, following in WORKER_TRANSITIONS.items():
        assert sorted(documented[state]) == sorted(following), state


def test_the_table_of_a_clusters_states_is_complete() -> None:
    assert [*table("| state | means |")] == [*ClusterState]


def test_the_table_of_policies_is_complete() -> None:
    assert [*table("| policy | the next connection goes to |")] == [*POLICIES]


def test_the_table_of_commands_is_complete() -> None:
    documented = {usage.split()[0] for usage in table("| command | does |")}
    assert documented == COMMANDS.keys()


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:launcher|app|tests)/[^`]*)`", "".join(DOCS))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


# The files beside it


@pytest.mark.slow
def test_the_procfile_listens_for_the_outside_on_the_given_port(tree: Path, tmp_path: Path) -> None:
    (line,) = (ROOT / "Procfile").read_text().splitlines()
    process, _, command = line.partition(": ")
    assert process == "web"
    _put_script(tmp_path / "bin/python", sys.executable)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    env = environment(tmp_path, PATH=path, PORT="0", WEB_CONCURRENCY="1")
    terminal = Terminal(command, prefix=(), tree=tree, env=env)
    with contextlib.closing(terminal):
        ready = r"ready at http://0\.0\.0\.0:(\d+), workers: 1: WEB_CONCURRENCY"
        found = eventually(lambda: re.search(ready, terminal.log_while_it_runs()), within=30)
        assert requests.get(f"http://127.0.0.1:{found[1]}/healthz", timeout=10).text == "ok"
        terminal.ctrl_c()


def test_requirements_are_exact_and_come_from_wherever_pip_is_told() -> None:
    files = (ROOT / "requirements.txt", ROOT / "tests/requirements.txt")
    lines = [line for file in files for line in file.read_text().splitlines()]
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    names = [re.split("[-_.]+", pin.partition("==")[0].lower()) for pin in pins]
    assert all(names.count(name) == 1 for name in names)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__
