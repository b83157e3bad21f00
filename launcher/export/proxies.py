"""What HAProxy and nginx share: the servers behind them, and how long they have patience."""

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from launcher.config.address import BindAddress
from launcher.errors import LauncherError, UsageError
from launcher.export.terms import LOOPBACK, WILDCARD, Cluster, Wishes

__all__ = ["CONNECT", "Server", "bracketed", "host_rule", "servers", "status_of"]

CONNECT = 2
"""Seconds to connect in: a host that is gone does not answer at all."""


class Server(NamedTuple):
    """One address of a cluster: a host and a port, or a path."""

    host: str = ""
    port: int = 0
    path: str = ""


def servers(cluster: Cluster, wishes: Wishes) -> list[Server]:
    """Where a proxy finds the cluster: on these hosts, else on this one.

    LauncherError where no connection from there reaches its address.
    """
    address = cluster.addresses[0]
    cluster.require_fixed(address)
    hosts = [_host(text) for text in wishes.hosts]
    if address.kind == "unix":
        if hosts:
            raise LauncherError(
                f"{cluster.name}: {address} cannot be reached from elsewhere: --bind"
            )
        return [Server(path=address.path)]
    if not hosts:
        return [Server(_own(address), address.port)]
    _require_reachable(cluster, address, hosts, "--bind")
    return [Server(host, address.port) for host in hosts]


def status_of(cluster: Cluster, wishes: Wishes) -> BindAddress:
    """Where its checks ask, of each server. LauncherError where they cannot."""
    status = cluster.status_address()
    _require_reachable(cluster, status, [_host(text) for text in wishes.hosts], "--status-bind")
    return BindAddress(status.kind, host=_own(status), port=status.port)


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def host_rule(cluster: Cluster) -> str:
    """What the Host of a request begins with that is for one of several clusters."""
    return f"{cluster.name.lower()}."


def _own(address: BindAddress) -> str:
    """The address as one reaches it from the same machine."""
    if address.host in WILDCARD:
        return "::1" if address.kind == "tcp6" else "127.0.0.1"
    return address.host


def _require_reachable(
    cluster: Cluster, address: BindAddress, hosts: Sequence[str], option: str
) -> None:
    far = [host for host in hosts if not _is_loopback(host)]
    if far and _is_loopback(address.host):
        raise LauncherError(
            f"{cluster.name}: {address} cannot be reached from elsewhere:"
            f" {option} 0.0.0.0:{address.port}"
        )


def _is_loopback(host: str) -> bool:
    return host in LOOPBACK or host.startswith("127.")


def _host(text: str) -> str:
    """A host name or an address. UsageError for anything else."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text):
            return text.lower()
    raise UsageError(f"--host: {text!r} is no host: write web1.example or 10.0.0.1")
