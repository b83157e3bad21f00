"""Quadlet: a ``.container`` file for each cluster, of which Podman makes a systemd service.

podman-systemd.unit(5). ``%`` and ``$`` reach systemd as they are written here.
"""

import json
import math
from collections.abc import Sequence

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
from launcher.export.systemd import from_file, quoted
from launcher.export.terms import Cluster, File, Wishes

__all__ = ["export"]

PULL = 600
"""Seconds."""


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``NAME.container`` for each."""
    return [File(f"{cluster.name}.container", _container(cluster, wishes)) for cluster in clusters]


def _container(cluster: Cluster, wishes: Wishes) -> str:
    uid, _, gid = (wishes.user or USER).partition(":")
    names = variables(cluster)
    return "\n".join(
        [
            "[Unit]",
            f"Description={cluster.name}, a cluster of web workers",
            "Wants=network-online.target",
            "After=network-online.target",
            "",
            "[Container]",
            f"ContainerName={cluster.name}",
            f"Image={_literal(image(cluster, wishes))}",
            f"Exec={_dollars_doubled(quoted(command(cluster)))}",
            "# The unit is active once the launcher says that all workers are ready.",
            "Notify=true",
            f"Environment=LAUNCHER_HOME={HOME}",
            *(from_file(cluster, names) if names else ()),
            *(f"PublishPort={each}" for each in published(cluster)),
            f"User={uid}",
            *([f"Group={gid}"] if gid else []),
            "ReadOnly=true",
            "Tmpfs=/tmp",
            "NoNewPrivileges=true",
            "DropCapability=all",
            *([] if unprivileged(cluster) else ["Sysctl=net.ipv4.ip_unprivileged_port_start=0"]),
            f"HealthCmd={_literal(json.dumps(check(cluster)))}",
            "HealthInterval=10s",
            "HealthTimeout=5s",
            "HealthRetries=3",
            f"HealthStartPeriod={math.ceil(cluster.start_within)}s",
            "# drain + graceful-timeout + 5 s: then Podman kills; systemd a little later.",
            f"PodmanArgs=--stop-timeout={cluster.stop_within}",
            "",
            "[Service]",
            "Restart=always",
            "RestartSec=1",
            "# What a start may take, and ten minutes for the image to be pulled.",
            f"TimeoutStartSec={math.ceil(cluster.start_within) + PULL}",
            f"TimeoutStopSec={cluster.stop_within + 10}",
            "",
            "[Install]",
            "WantedBy=multi-user.target default.target\n",
        ]
    )


def _literal(text: str) -> str:
    return _dollars_doubled(text.replace("%", "%%"))


def _dollars_doubled(text: str) -> str:
    return text.replace("$", "$$")
