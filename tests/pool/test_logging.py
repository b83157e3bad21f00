"""gunicorn's loggers beside those that an app configures."""

from __future__ import annotations

import logging
import logging.config
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from gunicorn.config import Config

from launcher.pool.logger import Logger
from tests.cluster.tools import get
from tests.pool.tools import ended, last_line
from tests.support import APPS, ROOT, Cluster, StartCluster, eventually

APP = """
import logging
import logging.config
import os

logging.config.dictConfig({
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
})

# The recipe for Flask behind gunicorn.
server, mine = logging.getLogger("gunicorn.error"), logging.getLogger("mine")
mine.handlers, mine.propagate = server.handlers, False
mine.setLevel(server.level)


def app(environ, start_response):
    mine.info("asked for %s", environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("of the app")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def said(cluster: Cluster, text: str) -> bool:
    return text in cluster.log


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_app_that_configures_logging_does_not_silence_its_server(
    start_cluster: StartCluster, tmp_path: Path, preload: str
) -> None:
    (tmp_path / "noisy.py").write_text(APP)
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    options = ("-w", "1", preload, "--access-log")
    cluster = start_cluster("noisy:app", *options, folder=tmp_path, PYTHONPATH=path).ready()
    assert get(cluster.address, "/fine").status == 200
    assert get(cluster.address, "/fail").status == 500
    for text in (
        '"GET /fine HTTP/1.1" 200 2',
        '"GET /fail HTTP/1.1" 500 ',
        "[worker 1 slot 0] Error handling request GET /fail\n",
        "ValueError: of the app\n",
        "[worker 1 slot 0] asked for /fine\n",
    ):
        eventually(partial(said, cluster, text))


@pytest.fixture
def loggers() -> Iterator[None]:
    """Puts gunicorn's loggers back."""
    names = ("gunicorn.error", "gunicorn.access")
    before = {name: logging.getLogger(name) for name in names}
    for name in names:
        del logging.Logger.manager.loggerDict[name]
    yield
    logging.Logger.manager.loggerDict.update(before)


@pytest.mark.usefixtures("loggers")
def test_setting_the_log_up_twice_changes_nothing() -> None:
    for _ in range(2):
        log = Logger(Config())  # type: ignore[no-untyped-call]
    assert len(log.error_log.handlers) == 1
    log.error_log.disabled = True
    assert not log.error_log.disabled
    assert log.error_log.isEnabledFor(logging.ERROR)
    assert isinstance(log.error_log, logging.Logger)
    assert type(log.error_log).__mro__.count(logging.Logger) == 1


def test_a_log_that_cannot_be_set_up(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("logconfig = 'nosuch.ini'\n")
    config = str(tmp_path / "conf.py")
    home = str(tmp_path / "home")
    run = ended(APPS, "run", "echo:app", "-p", "0", "--gunicorn-config", config, LAUNCHER_HOME=home)
    reason = (
        "gunicorn's log cannot be set up: RuntimeError: Error: log config 'nosuch.ini' not found"
    )
    assert last_line(run) == f"launcher: {reason}"
