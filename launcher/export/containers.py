"""What all engines of containers share: the command, the ports, the check, the image.

In a container there are no files of this machine. So its command says every option
itself, paths are those within the project, variables come from the engine, and the
ports are those of all its interfaces: which of them others reach, the engine decides.
"""

import os
import re
from collections.abc import Iterator, Mapping, Set
from types import MappingProxyType
from typing import Any

from launcher.config.address import BindAddress
from launcher.errors import LauncherError
from launcher.export.terms import WILDCARD, Cluster, Wishes

__all__ = [
    "HOME",
    "USER",
    "check",
    "command",
    "image",
    "ports",
    "published",
    "unprivileged",
    "variables",
]

HOME = "/tmp/launcher"  # noqa: S108 -- of the container, which has one user
"""LAUNCHER_HOME: below the one folder that can be written."""

USER = "10001:10001"
"""Neither root nor a user of the host."""

OF_THIS_MACHINE = frozenset({"env_file", "unix_socket_mode", "unix_socket_owner"})


def command(cluster: Cluster, *, leave_out: Set[str] = frozenset()) -> list[str]:
    """The words that start it there. LauncherError where it needs what is not in the image."""
    instead: dict[str, Any] = {"bind": [str(each) for each in _everywhere(cluster.ports())]}
    if cluster.settings.status_bind:
        instead["status_bind"] = str(*_everywhere([cluster.status_address()]))
    start = ["python", "-m", "launcher", "run", cluster.settings.app, "--name", cluster.name]
    return start + flags_within(cluster, leave_out, instead)


def flags_within(
    cluster: Cluster, leave_out: Set[str], instead: Mapping[str, Any] = MappingProxyType({})
) -> list[str]:
    """The options of a cluster that is started in the folder of its project, wherever that is."""
    config = cluster.settings.gunicorn_config
    paths = {"chdir": _within(cluster, cluster.settings.chdir)}
    paths |= {"gunicorn_config": _within(cluster, config)} if config else {}
    here = {"chdir"} if paths["chdir"] == "." else set()
    return cluster.flags(OF_THIS_MACHINE | here | leave_out, {**paths, **instead})


def ports(cluster: Cluster) -> list[int]:
    """The ports it listens on, the app's first, that of the status address last."""
    addresses = [
        *cluster.ports(),
        *([cluster.status_address()] if cluster.settings.status_bind else []),
    ]
    return list(dict.fromkeys(address.port for address in addresses))


def published(cluster: Cluster) -> list[str]:
    """Its ports as they are to be reached from outside: only from where its addresses are."""
    addresses = [
        *cluster.ports(),
        *([cluster.status_address()] if cluster.settings.status_bind else []),
    ]
    return list(dict.fromkeys(_published(address) for address in addresses))


def check(cluster: Cluster) -> list[str]:
    """The words that ask in the container whether it is ready; by an exit status of 0.

    Not with urllib: that would ask a proxy where one is set.
    """
    address = cluster.status_address()
    host = "::1" if address.kind == "tcp6" else "127.0.0.1"
    return [
        "python",
        "-c",
        f"import http.client as h; c = h.HTTPConnection('{host}', {address.port}, timeout=2);"
        " c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)",
    ]


def variables(cluster: Cluster) -> list[str]:
    """The names of the app's variables; not of what is a path of this machine."""
    names = dict.fromkeys([*cluster.of_files, *cluster.of_shell])
    return [name for name in names if name != "PYTHONPATH"]


def image(cluster: Cluster, wishes: Wishes) -> str:
    """The image that is named, else one called like the cluster."""
    name = re.sub(r"[^a-z0-9]+", "-", cluster.name.lower()).strip("-")
    return wishes.image or f"{name or 'app'}:latest"


def unprivileged(cluster: Cluster) -> bool:
    """Whether no port needs a privilege on a host that reserves the low ones."""
    return min(ports(cluster)) >= 1024


def _published(address: BindAddress) -> str:
    host = {"localhost": "127.0.0.1"}.get(address.host, address.host)
    if host in WILDCARD:
        return f"{address.port}:{address.port}"
    if address.kind == "tcp4" and not re.fullmatch(r"[0-9.]+", host):
        raise LauncherError(f"{address}: an engine publishes on addresses, not names: --bind")
    return f"{f'[{host}]' if ':' in host else host}:{address.port}:{address.port}"


def _everywhere(addresses: list[BindAddress]) -> Iterator[BindAddress]:
    seen = set()
    for address in addresses:
        if address.port not in seen:
            seen.add(address.port)
            host = "::" if address.kind == "tcp6" else "0.0.0.0"  # noqa: S104
            yield BindAddress(address.kind, host=host, port=address.port)


def _within(cluster: Cluster, path: str) -> str:
    """A path within the project, which is the image's working folder."""
    settings = cluster.settings
    project = settings.chdir
    if settings.config:
        folder = os.path.dirname(settings.config)
        project = folder if _is_below(settings.chdir, folder) else project
    if path.startswith("python:"):
        return path
    if not _is_below(path, project):
        raise LauncherError(f"{cluster.name}: {path} is not in {project}, so not in an image of it")
    return os.path.relpath(path, project)


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
