"""The pages of the status address: is the primary alive, is the cluster ready, how is it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from launcher.policy.lifecycle import ClusterState
from launcher.primary.cluster.primary import Primary
from launcher.primary.insight.exposition import content_type, render
from launcher.primary.insight.metrics import families
from launcher.primary.insight.status import report
from launcher.primary.insight.status_server import Page, Pages


def pages(primary: Primary, times: Callable[[], Mapping[str, float | None]]) -> Pages:
    """By path, what is answered of this cluster; ``times``: as of `report`."""
    return {
        "/livez": lambda _: _livez(primary),
        "/readyz": lambda _: _readyz(primary),
        "/metrics": lambda accept: _metrics(primary, accept),
        "/status.json": lambda _: _status(primary, times()),
    }


def _livez(primary: Primary) -> Page:
    """200 while the primary's loop turns; 503 once it has given up: a restart may help then."""
    if primary.state is ClusterState.ERRORED:
        return _unavailable(f"errored: {primary.error or 'given up'}")
    return Page("alive\n")


def _readyz(primary: Primary) -> Page:
    """200 from the first full readiness until the end begins, while a worker is online."""
    online = f"{len(primary.online())} of {primary.wanted} workers online"
    if primary.ending.begun:
        return _unavailable(f"stopping, {online}")
    if not primary.first_start.over:
        return _unavailable(f"starting, {online}")
    if not primary.online():
        return _unavailable(f"{primary.state}, {online}: {primary.error or 'none yet'}")
    return Page(f"ready, {online}\n")


def _status(primary: Primary, times: Mapping[str, float | None]) -> Page:
    return Page(json.dumps(report(primary, times)) + "\n", content_type="application/json")


def _metrics(primary: Primary, accept: str) -> Page:
    form = content_type(accept)
    return Page(render(families(primary), form), content_type=form)


def _unavailable(why: str) -> Page:
    return Page(why + "\n", HTTPStatus.SERVICE_UNAVAILABLE)
