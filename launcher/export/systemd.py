"""systemd: a service for each cluster, and with ``--socket`` a unit that holds its ports.

How a line is read: systemd.syntax(7) for quotes, systemd.unit(5) for ``%``,
systemd.service(5) "Command lines" for ``$``.
"""

import math
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from launcher.config.address import BindAddress
from launcher.errors import LauncherError
from launcher.export.terms import Cluster, File, Wishes

__all__ = ["export", "from_file", "quoted", "raw"]

HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= is about (systemd.exec(5))."""

WATCHDOG = 30

HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``NAME.service``; with ``--socket`` also ``NAME.socket``."""
    files = []
    for cluster in clusters:
        files.append(File(f"{cluster.name}.service", _service(cluster, wishes)))
        if wishes.socket:
            files.append(File(f"{cluster.name}.socket", _socket(cluster)))
    return files


def quoted(words: Iterable[str]) -> str:
    """Words as a line of a unit, where ``$`` stands for itself."""
    return " ".join(map(_word, words))


def from_file(cluster: Cluster, names: Iterable[str]) -> Iterator[str]:
    """The lines that have these variables read from a file, which an export does not write."""
    yield "# The values are for you to write, one NAME=VALUE a line:"
    yield from textwrap.wrap(" ".join(names), 96, initial_indent="#   ", subsequent_indent="#   ")
    yield f"EnvironmentFile=/etc/launcher/{cluster.name}.env"


def raw(path: str) -> str:
    """A path as the whole value of a setting, which systemd does not unquote.

    LauncherError for one that cannot be told so.
    """
    if not path.isprintable() or path != path.strip() or path.endswith("\\"):
        raise LauncherError(f"{path!r} cannot be written into a unit: give it a plainer name")
    return path.replace("%", "%%")


def _word(word: str) -> str:
    escaped = "".join(map(_character, word))
    return escaped if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", escaped) else f'"{escaped}"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char == "%":
        return "%%"
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _service(cluster: Cluster, wishes: Wishes) -> str:
    name, user = cluster.name, wishes.user or cluster.owner
    return "\n".join(
        [
            "[Unit]",
            f"Description={name}, a cluster of web workers",
            *_order(cluster, wishes),
            "",
            "[Service]",
            "Type=notify",
            *([f"User={user}"] if user else ["DynamicUser=yes"]),
            f"WorkingDirectory={raw(cluster.settings.chdir)}",
            f"RuntimeDirectory=launcher/{name}",
            "RuntimeDirectoryMode=0700",
            f"Environment=LAUNCHER_HOME=/run/launcher/{name}",
            *_environment(cluster, wishes),
            _line("ExecStart", _start(cluster, wishes)),
            _line("ExecReload", [wishes.python, "-m", "launcher", "reload", name]),
            "# The primary is told to stop and tells the others; what is left is killed.",
            "KillMode=mixed",
            "# Twice boot-timeout + 10 s: it holds for a reload too.",
            f"TimeoutStartSec={math.ceil(cluster.start_within)}",
            "# drain + graceful-timeout + 5 s.",
            f"TimeoutStopSec={cluster.stop_within}",
            f"WatchdogSec={WATCHDOG}",
            "Restart=always",
            "RestartSec=1",
            "# A worker that the kernel kills for its memory is replaced by the launcher.",
            "OOMPolicy=continue",
            "LimitNOFILE=65536",
            "",
            "# The app can write to its own /tmp and nowhere else: ReadWritePaths= adds places.",
            *_writable(cluster, wishes),
            _hardening(cluster, wishes),
            "[Install]",
            "WantedBy=multi-user.target\n",
        ]
    )


def _order(cluster: Cluster, wishes: Wishes) -> list[str]:
    if wishes.socket:
        return [f"Requires={cluster.name}.socket", f"After={cluster.name}.socket"]
    return ["Wants=network-online.target", "After=network-online.target"]


def _environment(cluster: Cluster, wishes: Wishes) -> Iterator[str]:
    if wishes.python_path:
        yield f"Environment={_word(f'PYTHONPATH={wishes.python_path}')}"
    if cluster.of_shell:
        yield from from_file(cluster, cluster.of_shell)


def _start(cluster: Cluster, wishes: Wishes) -> list[str]:
    settings = cluster.settings
    words = [wishes.python, "-m", "launcher", "run"]
    held = {"bind"} if wishes.socket else set()
    if not wishes.socket:
        for address in cluster.addresses:
            if address.kind == "fd":
                cluster.require_fixed(address)
    if settings.config:
        own = ["--config", settings.config, cluster.name, *cluster.flags_beside_its_file(held)]
    else:
        own = [settings.app, "--name", cluster.name, *cluster.flags(held)]
    return words + own


def _line(setting: str, words: Sequence[str]) -> str:
    """With ``:`` the values of variables are put into no word."""
    literal = ":" if any("$" in word for word in words) else ""
    return f"{setting}={literal}{quoted(words)}"


def _writable(cluster: Cluster, wishes: Wishes) -> list[str]:
    """The folders of its unix sockets, where the socket unit does not make them."""
    folders = [
        os.path.dirname(address.path)
        for address in cluster.addresses
        if address.kind == "unix" and not wishes.socket
    ]
    if any(re.search(r"[\"'\\]", folder) for folder in folders):
        raise LauncherError(f"{cluster.name}: give the folder of its unix socket a plainer name")
    return [f"ReadWritePaths={_word(f'-{folder}')}" for folder in dict.fromkeys(folders)]


def _hardening(cluster: Cluster, wishes: Wishes) -> str:
    low = any(0 < address.port < 1024 for address in cluster.addresses)
    text = HARDENING.format(
        capabilities="CAP_NET_BIND_SERVICE" if low and not wishes.socket else "",
        home="read-only" if _needs_a_home(cluster, wishes) else "yes",
    )
    if cluster.settings.unix_socket_owner and not wishes.socket:
        text += "SystemCallFilter=@chown\n"
    return text


def _needs_a_home(cluster: Cluster, wishes: Wishes) -> bool:
    settings = cluster.settings
    paths = [
        *(settings.chdir, settings.config, settings.env_file, settings.gunicorn_config),
        *(address.path for address in cluster.addresses),
        *wishes.places,
    ]
    return any(path and f"{path}/".startswith(f"{home}/") for path in paths for home in HOMES)


def _socket(cluster: Cluster) -> str:
    settings = cluster.settings
    access = {"SocketMode": settings.unix_socket_mode}
    user, _, group = (settings.unix_socket_owner or "").partition(":")
    access |= {"SocketUser": user, "SocketGroup": group}
    return "\n".join(
        [
            "[Unit]",
            f"Description=The addresses of {cluster.name}",
            "",
            "[Socket]",
            "# They stay open while the service starts anew: who connects then waits.",
            *(f"ListenStream={_listen(cluster, address)}" for address in cluster.addresses),
            f"Backlog={settings.backlog}",
            "BindIPv6Only=ipv6-only",
            *(f"{key}={value}" for key, value in access.items() if value),
            "",
            "[Install]",
            "WantedBy=sockets.target\n",
        ]
    )


def _listen(cluster: Cluster, address: BindAddress) -> str:
    cluster.require_fixed(address)
    if address.kind == "unix":
        return raw(address.path)
    host = {"localhost": "127.0.0.1"}.get(address.host, address.host)
    if address.kind == "tcp4" and not re.fullmatch(r"[0-9.]+", host):
        raise LauncherError(f"{address}: a socket unit listens on addresses, not names: --bind")
    return f"{f'[{host}]' if ':' in host else host}:{address.port}"
