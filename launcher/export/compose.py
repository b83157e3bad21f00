"""Compose (compose-spec): one service for each cluster, in one file."""

import math
from collections.abc import Sequence
from typing import Any

from launcher.export.containers import (
    HOME,
    USER,
    check,
    command,
    image,
    published,
    unprivileged,
    variables,
)
from launcher.export.terms import Cluster, File, Wishes
from launcher.export.yaml import Noted, document

__all__ = ["export"]

LOW_PORTS = {"net.ipv4.ip_unprivileged_port_start": 0}


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``compose.yaml``."""
    services = {cluster.name: _service(cluster, wishes) for cluster in clusters}
    return [File("compose.yaml", document({"services": services}))]


def _service(cluster: Cluster, wishes: Wishes) -> dict[str, Any]:
    service = {
        **({} if wishes.image else {"build": "."}),
        "image": image(cluster, wishes),
        "command": command(cluster),
        "user": wishes.user or USER,
        "environment": Noted(
            {"LAUNCHER_HOME": HOME, **dict.fromkeys(variables(cluster))},
            "Those without a value have what Compose finds in its own environment, or in .env.",
        ),
        "ports": published(cluster),
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        **({} if unprivileged(cluster) else {"sysctls": LOW_PORTS}),
        "restart": "unless-stopped",
        "stop_grace_period": Noted(
            f"{cluster.stop_within}s", "drain + graceful-timeout + 5 s: then Docker kills."
        ),
        "healthcheck": {
            "test": ["CMD", *check(cluster)],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{math.ceil(cluster.start_within)}s",
        },
    }
    return {key: _dollars_doubled(value) for key, value in service.items()}


def _dollars_doubled(value: Any) -> Any:
    """Compose puts the values of variables into every text (compose-spec, 12-interpolation)."""
    match value:
        case Noted():
            return Noted(_dollars_doubled(value.value), *value.why)
        case dict():
            return {key: _dollars_doubled(each) for key, each in value.items()}
        case list():
            return [_dollars_doubled(each) for each in value]
        case str():
            return value.replace("$", "$$")
        case _:
            return value
