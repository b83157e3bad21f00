"""What probes are told, by the state of the cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from launcher.policy.lifecycle import ClusterState
from launcher.primary.insight.pages import pages
from launcher.primary.insight.status import UNKNOWN


def primary(
    state: ClusterState, online: int, over: bool = True, begun: bool = False, error: str = ""
) -> Any:
    """As far as probes look."""
    return SimpleNamespace(
        state=state,
        online=lambda: [None] * online,
        wanted=4,
        first_start=SimpleNamespace(over=over),
        ending=SimpleNamespace(begun=begun),
        error=error or None,
    )


@pytest.mark.parametrize(
    ("subject", "alive", "ready", "told"),
    [
        (primary(ClusterState.ONLINE, 4), 200, 200, "ready, 4 of 4 workers online"),
        (primary(ClusterState.ONLINE, 1), 200, 200, "ready, 1 of 4 workers online"),
        (primary(ClusterState.RELOADING, 4), 200, 200, "ready, 4 of 4 workers online"),
        (primary(ClusterState.LAUNCHING, 3, over=False), 200, 503, "starting, 3 of 4"),
        (primary(ClusterState.LAUNCHING, 0), 200, 503, "launching, 0 of 4 workers online"),
        (primary(ClusterState.BACKOFF, 0, error="x/y"), 200, 503, "backoff, 0 of 4"),
        (primary(ClusterState.ERRORED, 0, error="no app"), 503, 503, "online: no app"),
        (primary(ClusterState.STOPPING, 4, begun=True), 200, 503, "stopping, 4 of 4"),
    ],
)
def test_alive_and_ready(subject: Any, alive: int, ready: int, told: str) -> None:
    made = pages(subject, lambda: UNKNOWN)
    assert made["/livez"]("").status == alive
    page = made["/readyz"]("")
    assert page.status == ready
    assert told in page.body
    assert page.body.count("\n") == 1
