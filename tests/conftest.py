"""Fixtures for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiers
from tests.support import StartCluster, clusters

_FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, nohup's the end of its terminal; and so would all
    that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests get their tier, and the order in which they run."""
    tiers.mark(items)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What ``-n auto`` means, which is the default."""
    return tiers.processes(config)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> tiers.Scheduling:
    """Which process runs which file."""
    return tiers.Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Remember whether the test itself failed, for fixtures that show logs."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A LAUNCHER_HOME of the test's own; made by whoever uses it first."""
    return tmp_path / "home"


@pytest.fixture
def start_cluster(home: Path, request: pytest.FixtureRequest) -> Iterator[StartCluster]:
    """``start_cluster("echo:app", "-w", "2")``: a real cluster, stopped after the test."""
    yield from clusters(home, lambda: request.node.stash.get(_FAILED, False))
