"""Which tests are quick, and that what measures time has the machine for itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

CONFTEST = """
import importlib.util, os, time
import pytest

spec = importlib.util.spec_from_file_location("tiers", os.environ["TIERS"])
tiers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiers)

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    tiers.mark(items)

def pytest_xdist_auto_num_workers(config):
    return tiers.processes(config)

def pytest_xdist_make_scheduler(config, log):
    return tiers.Scheduling(config, log)

@pytest.fixture
def start_cluster():
    pass

@pytest.fixture(autouse=True)
def noted(request):
    begun = time.monotonic()
    yield
    with open(os.environ["NOTES"], "a") as file:
        print(request.node.name, os.getpid(), begun, time.monotonic(), file=file)
"""

FILES = {
    "tests/test_plain.py": "def test_plain(): pass\n",
    "tests/test_more.py": "import time\ndef test_more(): time.sleep(0.3)\ndef test_most(): pass\n",
    "tests/test_starts.py": "def test_starts(start_cluster): pass\n",
    "tests/faults/test_fault.py": "def test_fault(): pass\n",
    "tests/test_marked.py": (
        "import pytest\n@pytest.mark.slow\ndef test_slow(): pass\n"
        "@pytest.mark.long\ndef test_long(): pass\n"
        "@pytest.mark.quick\ndef test_smoke(start_cluster): pass\n"
    ),
    "tests/alone/test_first.py": "def test_first(): pass\ndef test_second(): pass\n",
    "tests/alone/test_third.py": "def test_third(): pass\n",
}

Run = tuple[str, int, float, float]
"""Which test, in which process, from when to when."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A suite of its own under the same rules."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/conftest.py").write_text(CONFTEST)
    settings = (ROOT / "pyproject.toml").read_text().partition("[tool.pytest.ini_options]")
    (tmp_path / "pyproject.toml").write_text("".join(settings[1:]).partition("\n[")[0])
    return tmp_path


def runs(tree: Path, *arguments: str) -> list[Run]:
    notes = tree / "notes"
    notes.write_text("")
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", *arguments]
    environment = {"TIERS": str(ROOT / "tests/tiers.py"), "NOTES": str(notes)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = (line.split() for line in notes.read_text().splitlines())
    return [(name, int(pid), float(begun), float(ended)) for name, pid, begun, ended in found]


def test_quick_is_what_starts_nothing_and_what_is_marked_so(tree: Path) -> None:
    found = runs(tree, "-m", "quick")
    assert {name for name, *_ in found} == {"test_plain", "test_more", "test_most", "test_smoke"}
    assert len({pid for _, pid, *_ in found}) == 1


@pytest.mark.slow
def test_what_is_alone_runs_last_in_one_process(tree: Path) -> None:
    found = runs(tree)
    names = {name for name, *_ in found}
    assert {"test_slow", "test_fault", "test_starts"} < names
    assert "test_long" not in names
    alone = [run for run in found if run[0] in ("test_first", "test_second", "test_third")]
    others = [run for run in found if run not in alone]
    assert len(alone) == 3
    assert len({pid for _, pid, *_ in alone}) == 1
    assert len({pid for _, pid, *_ in others}) > 1
    assert min(begun for *_, begun, _ in alone) >= max(ended for *_, ended in others)
    assert [*alone] == sorted(alone, key=lambda run: run[2])
