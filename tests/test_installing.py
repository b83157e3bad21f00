"""The package that pip builds: what it brings along, and that it works without this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import requests

from launcher import __version__
from tests.support import ROOT

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves a folder of its own where it builds."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("launcher", "pyproject.toml", "README.md", "LICENSE"):
        run("cp", "-r", str(ROOT / name), str(source / name))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(source))
    (found,) = place.glob("*.whl")
    return found


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_it_has_every_module_its_types_and_its_licence(wheel: Path) -> None:
    names = {*zipfile.ZipFile(wheel).namelist()}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "launcher").rglob("*.py")}
    assert modules <= names
    assert "launcher/py.typed" in names
    assert [name for name in names if name.startswith(("app/", "tests/", "benchmarks/"))] == []
    information = f"launcher-{__version__}.dist-info"
    assert f"{information}/licenses/LICENSE" in names
    metadata = zipfile.ZipFile(wheel).read(f"{information}/METADATA").decode()
    assert "\nLicense-Expression: MIT\n" in metadata


APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_it_is_installed_with_what_it_needs_and_serves_in_any_folder(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    run(str(place / "bin/pip"), "install", "-q", str(wheel))
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "web.py").write_text(APP)
    command = str(place / "bin/launcher")
    assert run(command, "--version", cwd=tmp_path) == f"launcher {__version__}\n"
    run(command, "start", "web:app", "-w", "1", "-p", "0", cwd=tmp_path)
    (tmp_path / "shop.py").write_text(
        APP.replace("def app(", "def create_app():\n    return serve\n\ndef serve(")
    )
    run(command, "start", "shop", "-w", "1", "-p", "0", cwd=tmp_path)
    assert run(command, "ping", "shop", cwd=tmp_path) == "shop is online\n"
    assert run(command, "delete", "shop", cwd=tmp_path) == "deleted shop\n"
    try:
        (cluster,) = json.loads(run(command, "list", "--json", cwd=tmp_path))
        assert requests.get(f"http://{cluster['bind'][0]}/", timeout=10).text == "ok"
    finally:
        module = str(place / "bin/python"), "-m", "launcher"
        assert run(*module, "delete", "web", cwd=tmp_path) == "deleted web\n"
