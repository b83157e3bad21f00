"""Which part may know which: read from the imports, and from what a process really loads."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.structure import MOST_LINES, MOST_MODULES, Arrow, Structure, below

ROOT = Path(__file__).parent.parent
LAUNCHER = Structure(ROOT / "launcher")

ROOMS: Mapping[str, Sequence[str]] = {
    "launcher": (
        "__main__",
        "cli",
        "primary",
        "worker",
        "pool",
        "control",
        "state",
        "policy",
        "ipc",
        "logs",
        "export",
        "config",
        "places",
        "folders",
        "proc",
        "memory",
        "descriptors",
        "signals",
        "refusals",
        "sizing",
        "events",
        "errors",
    ),
    "launcher.cli": (
        "completion",
        "root",
        "commands",
        "monit",
        "starting",
        "asking",
        "options",
        "threads",
        "colours",
        "text",
    ),
    "launcher.primary": (
        "background",
        "main",
        "signals",
        "timetable",
        "control",
        "insight",
        "cluster",
        "traffic",
        "rescue",
        "connections",
        "processes",
        "notify",
        "journal",
        "log",
        "reactor",
    ),
    "launcher.primary.cluster": (
        "rounds",
        "primary",
        "news",
        "ending",
        "recycling",
        "rollout",
        "replacement",
        "staffing",
        "auto_reload",
        "first_start",
        "record",
        "succession",
    ),
    "launcher.worker": (
        "process",
        "budget",
        "threads",
        "serving",
        "exchange",
        "forked",
        "connection",
        "request",
    ),
}
"""The rooms of a folder, the highest first: each imports only those below it."""

PURE = {
    "__future__",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "typing",
    "zlib",
}
"""What a policy may use of the standard library: nothing of it acts, or looks at the world."""

HEAVY = ("gunicorn", "flask", "werkzeug", "jinja2", "launcher.pool", "launcher.worker", "app")
"""What the primary and the command line must never load."""


def coming_along(packages: Sequence[str], unwanted: Sequence[str]) -> list[Arrow]:
    """What is unwanted and yet comes along with modules of these packages."""
    modules = LAUNCHER.of_package(*packages)
    assert modules
    return [
        Arrow(module, name)
        for module in modules
        for name in LAUNCHER.closure(module)
        if below(name, unwanted)
    ]


def test_this_test_sees_the_modules_and_their_imports() -> None:
    assert {"launcher", "launcher.cli.commands.run", "launcher.policy.rescue"} <= {
        *LAUNCHER.modules
    }
    imported = LAUNCHER.imports("launcher.cli.commands.run")
    assert "launcher.primary.main" in imported, "imported inside a function"
    assert "gunicorn.arbiter" in LAUNCHER.imports("launcher.pool.arbiter")
    assert "gunicorn.arbiter" in LAUNCHER.closure("launcher.pool.__main__")


def test_a_policy_imports_nothing_that_acts_or_looks_at_the_world() -> None:
    modules = LAUNCHER.of_package("launcher.policy")
    assert modules
    odd = [
        Arrow(module, name)
        for module in modules
        for name in LAUNCHER.imports(module) - PURE
        if not below(name, ("launcher.policy",))
    ]
    assert odd == [("launcher.policy.rescue", "launcher.ipc.notes")]


def test_an_export_is_made_of_settings_and_nothing_else() -> None:
    modules = LAUNCHER.of_package("launcher.export")
    assert modules
    texts = {"hashlib", "ipaddress", "json", "os", "shlex", "textwrap", "types"}
    below_it = ("launcher.export", "launcher.config", "launcher.errors")
    odd = [
        Arrow(module, name)
        for module in modules
        for name in LAUNCHER.imports(module) - PURE - texts - {"launcher"}
        if not below(name, below_it)
    ]
    assert odd == []


def test_the_primary_imports_neither_gunicorn_nor_the_app_nor_what_runs_elsewhere() -> None:
    assert coming_along(["launcher.primary"], HEAVY) == []


def test_the_command_line_imports_neither_gunicorn_nor_the_app() -> None:
    assert coming_along(["launcher.cli", "launcher.control"], HEAVY) == []


def test_what_runs_in_pools_and_workers_never_imports_the_primary() -> None:
    elsewhere = ("launcher.primary", "launcher.cli", "launcher.control", "launcher.state")
    assert coming_along(["launcher.pool", "launcher.worker"], elsewhere) == []


def test_what_both_sides_share_knows_neither() -> None:
    sides = ("launcher.primary", "launcher.pool", "launcher.worker", "launcher.cli", "gunicorn")
    assert coming_along(["launcher.ipc", "launcher.logs"], sides) == []


def test_only_pools_and_workers_import_gunicorn() -> None:
    users = [
        name
        for name in LAUNCHER.modules
        if any(below(each, ("gunicorn",)) for each in LAUNCHER.imports(name))
    ]
    assert users
    assert [name for name in users if not below(name, ("launcher.pool", "launcher.worker"))] == []


@pytest.mark.parametrize("folder", ROOMS)
def test_a_room_imports_only_rooms_below_it(folder: str) -> None:
    assert LAUNCHER.rooms(folder) == {*ROOMS[folder]}
    assert LAUNCHER.upward(folder, ROOMS[folder]) == []


def test_no_module_depends_on_itself() -> None:
    assert LAUNCHER.circles() == []


def test_files_are_short_and_folders_are_small() -> None:
    assert LAUNCHER.too_long() == {}
    assert LAUNCHER.too_full() == {}


def test_every_folder_says_what_it_is_for() -> None:
    assert LAUNCHER.without_charter() == []


def test_the_paths_and_modules_that_comments_name_are_there() -> None:
    places = (ROOT, ROOT / "launcher")
    missing = []
    for name, path in LAUNCHER.modules.items():
        text = path.read_text()
        for named in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
            if not any((place / named).exists() for place in places):
                missing.append((name, named))
        for named in re.findall(r"`(launcher(?:\.\w+)+)`", text):
            if not {named, named.rpartition(".")[0]} & LAUNCHER.modules.keys():
                missing.append((name, named))
    assert missing == []


def test_the_app_knows_nothing_of_the_launcher_but_current_worker() -> None:
    tree = ast.parse((ROOT / "app" / "__init__.py").read_text())
    found = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and below(node.module or "", ("launcher",))
        for alias in node.names
    ]
    assert found == [("launcher", "current_worker")]


# That these limits are limits


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A package of two rooms, ``high`` above ``low``, that keeps to everything."""
    folder = tmp_path / "made_up"
    for path, text in {
        "__init__.py": '"""A package."""',
        "high/__init__.py": '"""Above."""',
        "high/one.py": "from made_up.low import two",
        "low/__init__.py": '"""Below."""',
        "low/two.py": "",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{text}\n")
    return folder


def test_of_what_is_in_order_nothing_is_found(made_up: Path) -> None:
    structure = Structure(made_up)
    assert structure.arrows() == {("made_up.high.one", "made_up.low.two")}
    assert structure.rooms("made_up") == {"high", "low"}
    assert structure.upward("made_up", ("high", "low")) == []
    assert structure.circles() == []
    assert structure.too_long() == structure.too_full() == {}
    assert structure.without_charter() == []


def test_an_import_upwards_is_found(made_up: Path) -> None:
    assert Structure(made_up).upward("made_up", ("low", "high")) == [
        ("made_up.high.one", "made_up.low.two")
    ]


def test_an_import_of_a_room_that_has_no_place_is_found(made_up: Path) -> None:
    assert Structure(made_up).upward("made_up", ("high",)) == [
        ("made_up.high.one", "made_up.low.two")
    ]


@pytest.mark.parametrize(
    "back",
    [
        "from made_up.high.one import thing",
        "def late():\n    from made_up.high import one",
        "if TYPE_CHECKING:\n    from made_up.high.one import Thing",
    ],
    ids=["plainly", "in a function", "for a type checker"],
)
def test_a_circle_is_found(made_up: Path, back: str) -> None:
    (made_up / "low/two.py").write_text(f"{back}\n")
    there, here = ("made_up.high.one", "made_up.low.two"), ("made_up.low.two", "made_up.high.one")
    assert Structure(made_up).circles() == [there, here]


def test_a_file_that_is_too_long_is_found(made_up: Path) -> None:
    (made_up / "low/two.py").write_text("pass\n" * (MOST_LINES + 1))
    assert Structure(made_up).too_long() == {"made_up.low.two": MOST_LINES + 1}


def test_a_folder_that_is_too_full_is_found(made_up: Path) -> None:
    for number in range(MOST_MODULES):
        (made_up / f"low/more{number}.py").touch()
    assert Structure(made_up).too_full() == {"made_up/low": MOST_MODULES + 1}


def test_a_folder_that_does_not_say_what_it_is_for_is_found(made_up: Path) -> None:
    (made_up / "low/__init__.py").write_text("\n")
    (made_up / "high/__init__.py").unlink()
    assert Structure(made_up).without_charter() == ["made_up/high", "made_up/low"]


# What is really loaded

LOADED = "; import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded_by(code: str, tmp_path: Path) -> list[str]:
    """The modules that a fresh interpreter has loaded after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code + LOADED],
        cwd=ROOT,
        env={"LAUNCHER_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def test_a_primary_has_not_loaded_them(tmp_path: Path) -> None:
    loaded = loaded_by("import launcher.primary.main", tmp_path)
    assert "launcher.primary.cluster.primary" in loaded
    assert [name for name in loaded if below(name, HEAVY)] == []


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["sizing"], ["run", "--help"]])
def test_a_light_command_has_not_loaded_them(arguments: list[str], tmp_path: Path) -> None:
    code = f"from launcher.cli import main; assert main({arguments}) == 0"
    loaded = loaded_by(code, tmp_path)
    assert "launcher.cli.root" in loaded
    assert [name for name in loaded if below(name, (*HEAVY, "launcher.primary"))] == []
