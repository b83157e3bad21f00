"""A cluster without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from launcher.config.settings import Settings
from tests.fake_cluster import FakeCluster

EXIT_1 = 1 << 8
"""As from wait(2)."""

StartFake = Callable[..., FakeCluster]
"""``start(workers=2, on_ready=None, **settings)``."""


@pytest.fixture
def fake() -> Iterator[StartFake]:
    """Make clusters that are not started yet."""
    with ExitStack() as stack:

        def make(
            workers: int = 2, on_ready: Callable[[], None] | None = None, **settings: object
        ) -> FakeCluster:
            chosen = Settings(workers=workers, **settings).sized(  # type: ignore[arg-type]
                workers, workers, "asked for"
            )
            return FakeCluster(stack, chosen, on_ready)

        yield make


def serving(cluster: FakeCluster) -> list[int]:
    return cluster.traffic.ring


def when_done(cluster: FakeCluster, within: float) -> list[tuple[float, str]]:
    """What is done by itself within so many seconds, and how many after the cluster began."""
    found: list[tuple[float, str]] = []
    until = cluster.reactor.now + within
    while cluster.reactor.now < until - 1e-9:
        cluster.reactor.advance(0.0125)
        found += [(round(cluster.reactor.now - cluster.began, 4), each) for each in cluster.done()]
    return found
