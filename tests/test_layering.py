"""Which part may know which: read from the imports, and from what a process really loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAUNCHER = ROOT / "launcher"

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in LAUNCHER.rglob("*.py")
)

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


def path_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str) -> set[str]:
    """Every module that a module names in an import, wherever in its text; no type-checking."""
    tree = ast.parse(path_of(module).read_text())
    return {name for node in _executed(tree) for name in _named(node)}


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        assert node.module
        both = [f"{node.module}.{alias.name}" for alias in node.names]
        return [node.module, *(name for name in both if path_of(name).exists())]
    return []


def of_package(package: str) -> list[str]:
    return [name for name in MODULES if name == package or name.startswith(f"{package}.")]


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def closure(module: str) -> set[str]:
    """All modules that come along with a module of ours, with the packages around them."""
    found: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        found.add(name)
        if below(name, ("launcher",)):
            pending |= (imports(name) | {name.rpartition(".")[0] or name}) - found
    return found


def test_this_test_sees_the_modules_and_their_imports() -> None:
    assert {"launcher", "launcher.cli.commands.run", "launcher.policy.rescue"} <= {*MODULES}
    assert "launcher.primary.main" in imports("launcher.cli.commands.run"), (
        "imported inside a function"
    )
    assert "gunicorn.arbiter" in imports("launcher.pool.arbiter")
    assert "gunicorn.arbiter" in closure("launcher.pool.__main__")


@pytest.mark.parametrize("module", of_package("launcher.policy"))
def test_a_policy_imports_nothing_that_acts_or_looks_at_the_world(module: str) -> None:
    others = {name for name in imports(module) if not below(name, ("launcher.policy",))}
    allowed = PURE | {"launcher.ipc.notes"} if module == "launcher.policy.rescue" else PURE
    assert others <= allowed


@pytest.mark.parametrize("module", of_package("launcher.primary"))
def test_the_primary_imports_neither_gunicorn_nor_the_app_nor_what_runs_elsewhere(
    module: str,
) -> None:
    assert [name for name in closure(module) if below(name, HEAVY)] == []


@pytest.mark.parametrize("module", of_package("launcher.cli") + of_package("launcher.control"))
def test_the_command_line_imports_neither_gunicorn_nor_the_app(module: str) -> None:
    assert [name for name in closure(module) if below(name, HEAVY)] == []


@pytest.mark.parametrize("module", [*of_package("launcher.pool"), *of_package("launcher.worker")])
def test_what_runs_in_pools_and_workers_never_imports_the_primary(module: str) -> None:
    elsewhere = ("launcher.primary", "launcher.cli", "launcher.control", "launcher.state")
    assert [name for name in closure(module) if below(name, elsewhere)] == []


@pytest.mark.parametrize("module", of_package("launcher.ipc") + of_package("launcher.logs"))
def test_what_both_sides_share_knows_neither(module: str) -> None:
    sides = ("launcher.primary", "launcher.pool", "launcher.worker", "launcher.cli", "gunicorn")
    assert [name for name in closure(module) if below(name, sides)] == []


def test_only_pools_and_workers_import_gunicorn() -> None:
    users = {name for name in MODULES if any(below(i, ("gunicorn",)) for i in imports(name))}
    assert users
    assert [name for name in users if not below(name, ("launcher.pool", "launcher.worker"))] == []


def test_only_workers_use_the_http_parser() -> None:
    users = {name for name in MODULES if any(below(i, ("httptools",)) for i in imports(name))}
    assert [name for name in users if not below(name, ("launcher.worker",))] == []


def test_the_app_knows_nothing_of_the_launcher_but_current_worker() -> None:
    tree = ast.parse((ROOT / "app" / "__init__.py").read_text())
    found = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and below(node.module or "", ("launcher",))
        for alias in node.names
    ]
    assert found == [("launcher", "current_worker")]


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
