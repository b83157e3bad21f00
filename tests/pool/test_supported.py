"""Which gunicorn the pool takes, and what it says about another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from launcher.pool.loading.supported import OLDEST, REQUIREMENT, why_not
from tests.pool.tools import ended, last_line
from tests.support import APPS, ROOT


@pytest.mark.parametrize("version", ["27.0.1", "27.0.2", "27.1", "27.1.0.post1", "27.10.3"])
def test_versions_whose_internals_are_those_that_were_tested(version: str) -> None:
    assert why_not(version) is None


@pytest.mark.parametrize(
    "version", ["27.0.0", "27", "26.2.0", "23.0.0", "28.0.0", "28.0rc1", "dev"]
)
def test_another_version_is_named_with_what_to_do(version: str) -> None:
    reason = why_not(version)
    assert reason
    assert reason.startswith(f"gunicorn {version} is installed")
    assert reason.endswith(f"pip install '{REQUIREMENT}'")


def test_none_at_all() -> None:
    assert why_not(None) == f"gunicorn is not installed: pip install '{REQUIREMENT}'"


def test_the_metadata_of_the_package_says_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert REQUIREMENT in project["dependencies"]
    pinned = re.search(r"^gunicorn==(.+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert why_not(pinned[1]) is None
    assert pinned[1] == ".".join(map(str, OLDEST))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("__version__ = '26.2.0'\n", "gunicorn 26.2.0 is installed"),
        ("raise ImportError('of no use')\n", "gunicorn is not installed"),
        ("__version__ = '27.0.1'\n", "the launcher is not installed as it should be: "),
    ],
)
def test_another_gunicorn_is_told_in_the_last_line(
    tmp_path: Path, source: str, reason: str
) -> None:
    """Installing a package that wants an older one brings that about (MLflow does)."""
    (tmp_path / "gunicorn").mkdir()
    (tmp_path / "gunicorn" / "__init__.py").write_text(source)
    run = ended(
        APPS,
        *("run", "echo:app", "--port", "0"),
        PYTHONPATH=f"{tmp_path}:{ROOT}",
        LAUNCHER_HOME=str(tmp_path / "home"),
    )
    assert last_line(run).startswith(f"launcher: {reason}")
    assert "Traceback" not in run.stderr
