"""Clusters that all tests of a module share: what they ask for leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import StartCluster, clusters


@pytest.fixture(scope="module")
def start_shared(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[StartCluster]:
    """As ``start_cluster``, for the whole module."""
    before = request.session.testsfailed
    home = tmp_path_factory.mktemp("shared") / "home"
    yield from clusters(home, lambda: request.session.testsfailed > before)
