"""The variables that gunicorn sets are there when the app is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.tools import get
from tests.pool.tools import ended, last_line
from tests.support import APPS, ROOT, StartCluster

APP = """
import os

SEEN = f"{os.environ.get('COLOUR')} {os.environ.get('SERVER_SOFTWARE', '').partition('/')[0]}"


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(SEEN)))])
    return [SEEN.encode()]
"""


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_they_are_there(start_cluster: StartCluster, tmp_path: Path, preload: str) -> None:
    (tmp_path / "seen.py").write_text(APP)
    (tmp_path / "conf.py").write_text("raw_env = ['COLOUR=blue']\n")
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    options = ("-w", "1", preload, "--gunicorn-config", "conf.py")
    cluster = start_cluster("seen:app", *options, folder=tmp_path, PYTHONPATH=path).ready()
    assert get(cluster.address, "/").text == "blue gunicorn"


def test_one_without_a_value_is_told(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("raw_env = ['COLOUR']\n")
    home = str(tmp_path / "home")
    config = ("--gunicorn-config", str(tmp_path / "conf.py"))
    run = ended(APPS, "run", "echo:app", "--port", "0", *config, LAUNCHER_HOME=home)
    reason = "raw_env in gunicorn's configuration: environment setting 'COLOUR' invalid"
    assert last_line(run) == f"launcher: {reason}"
