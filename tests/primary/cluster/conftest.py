"""A cluster without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from launcher.config.settings import Settings
from tests.fakes import FakeCluster

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
