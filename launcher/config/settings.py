"""The settings of a cluster, and the table of options that users set them with.

The row of a field of ``Settings`` holds its type, default, reader, help and
flag. The command line, the ``LAUNCHER_<OPTION>`` variables and the keys of
``cluster.toml`` are derived from it through ``OPTIONS``, so a new option is one
new row. Which source wins is decided in ``launcher.config.resolve``.

Knows nothing of click, gunicorn or processes.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Self, get_type_hints

from launcher.config.address import BindAddress, parse_bind, read_bind
from launcher.config.option import Option, kinds_of, option
from launcher.config.readers import (
    MAX_WORKERS,
    check_name,
    one_of,
    read_app,
    read_bytes,
    read_cron,
    read_file,
    read_folder,
    read_glob,
    read_gunicorn_config,
    read_log_size,
    read_mode,
    read_owner,
    read_path,
    read_switch,
    read_threads,
    read_workers,
    seconds,
    whole,
)
from launcher.config.versions import NEEDED, filled, fits, is_wish
from launcher.errors import LauncherError

__all__ = [
    "FIXED_AT_START",
    "OPTIONS",
    "OPTIONS_BY_NAME",
    "POLICIES",
    "PORT",
    "BindAddress",
    "Settings",
    "parse_bind",
]

POLICIES = ("round-robin", "least-busy", "sticky", "kernel")
LOG_FORMATS = ("text", "json")

DEFAULT_APP = "app:create_app()"
DEFAULT_BIND = ("127.0.0.1:3000",)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a cluster is started with. Durations are seconds.

    Plain JSON values only (``values``), because the primary sends it to its
    pools and the cluster's folder keeps it. Never holds the value of an
    environment variable that is not an option.
    """

    app: str = option(
        DEFAULT_APP,
        read_app,
        "APP",
        "module, module:attribute or module:factory() of the app.",
        positional=True,
    )
    bind: tuple[str, ...] = option(
        DEFAULT_BIND,
        read_bind,
        "ADDRESS",
        "Listen here: host:port, [v6]:port, :port, unix:path or fd://N. May be repeated.",
        short="-b",
        repeatable=True,
    )
    workers: int | None = option(
        None,
        read_workers,
        "N|auto",
        "Worker processes; auto, the default: one per CPU.",
        short="-w",
        words=True,
    )
    threads: int | str = option(
        "4:64",
        read_threads,
        "MIN:MAX|N",
        "Threads of each worker: as many as it needs, between these two; or exactly N.",
    )
    name: str = option(
        "app", check_name, "NAME", "Its name in other commands, else the app's module.", short="-n"
    )
    policy: str = option(
        "round-robin",
        one_of(POLICIES),
        "POLICY",
        f"How connections are dealt to workers: {', '.join(POLICIES)}.",
    )
    graceful_timeout: float = option(
        30.0, seconds(0), "SECONDS", "What a stopping worker gets to finish its requests."
    )
    drain: float = option(
        0.0,
        seconds(0),
        "SECONDS",
        "Go on serving for so long after TERM, while proxies learn of it.",
    )
    boot_timeout: float = option(60.0, seconds(0.1), "SECONDS", "What a worker gets to be ready.")
    queue_timeout: float = option(
        30.0, seconds(0), "SECONDS", "Answer 503 to a request that waited this long for a thread."
    )
    queue_size: int = option(
        1024,
        whole(1, 1_000_000),
        "N",
        "Requests that may wait for a thread; more are left in the listen backlog.",
    )
    keepalive: float = option(
        75.0, seconds(0), "SECONDS", "Close an idle connection after this long; 0: at once."
    )
    backlog: int = option(2048, whole(1, 65_535), "N", "Connections the kernel may hold for us.")
    max_restarts: int = option(
        16, whole(1, 1_000_000), "N", "Failed starts in a row before the cluster is errored."
    )
    preload: bool = option(True, read_switch, "", "Load the app once, before the workers fork.")
    chdir: str = option(
        os.getcwd,
        read_folder,
        "FOLDER",
        "Load and run the app in this folder, not the current.",
        path=True,
    )
    gunicorn_config: str | None = option(
        None,
        read_gunicorn_config,
        "FILE",
        "gunicorn.conf.py: server hooks, and settings that are no options here.",
        path=True,
        beside_app=True,
    )
    rerun: bool = option(
        True, read_switch, "", "Run a safe request again when its worker dies of something else."
    )
    timeout: float = option(
        30.0, seconds(0), "SECONDS", "Answer 504 to a request stuck for this long; 0: never."
    )
    health_path: str | None = option(
        None, read_path, "PATH", "A worker is ready only once it answers this path with 200."
    )
    status_bind: str | None = option(
        None,
        read_bind,
        "ADDRESS",
        "Answer /livez, /readyz, /metrics, /status.json here: host:port or unix:PATH.",
    )
    max_requests: int = option(
        0, whole(0, 1_000_000_000), "N", "Recycle a worker after so many requests; 0: never."
    )
    max_memory: int = option(
        0, read_bytes, "BYTES", "Recycle a worker that uses more, e.g. 300M; 0: never.", words=True
    )
    max_lifetime: float = option(
        0.0, seconds(0), "SECONDS", "Recycle a worker after so long; 0: never."
    )
    env_file: str | None = option(
        None,
        read_file,
        "FILE",
        "KEY=VALUE lines for the app's environment, read at each reload.",
        path=True,
        beside_app=True,
    )
    watch: bool = option(
        False, read_switch, "", "Reload when code or a template below --chdir changes."
    )
    watch_ignore: tuple[str, ...] = option(
        (),
        read_glob,
        "PATTERN",
        "Files and folders that --watch does not heed: a glob below --chdir. May be repeated.",
        repeatable=True,
    )
    reload_at: str | None = option(
        None,
        read_cron,
        "CRON",
        'Reload at these times, local: cron expressions such as "0 4 * * *", several with ;.',
    )
    config: str | None = option(
        None, read_file, "FILE", "cluster.toml with the settings of one or more apps.", short="-c"
    )
    environment: str | None = option(
        None,
        check_name,
        "NAME",
        "Keys of [apps.APP.environments.NAME] come first.",
    )
    access_log: bool = option(False, read_switch, "", "Log every request.")
    log_format: str = option(
        "text",
        one_of(LOG_FORMATS),
        "FORMAT",
        "Of the access log (text: combined) and the primary's lines: text or json.",
    )
    log_max_size: int = option(
        10 << 20,
        read_log_size,
        "BYTES",
        "Begin a new log file at this size, e.g. 10M; 0: never.",
        words=True,
    )
    log_keep: int = option(5, whole(0, 1000), "N", "Full log files to keep of each worker.")
    limit_request_line: int = option(
        8190, whole(0, 8190), "BYTES", "Longest request line; 0: no limit."
    )
    limit_request_fields: int = option(100, whole(1, 32_768), "N", "Most header fields.")
    limit_request_field_size: int = option(
        8190, whole(0, 2**31 - 1), "BYTES", "Longest header field; 0: no limit."
    )
    unix_socket_mode: str | None = option(
        None, read_mode, "MODE", "Who may connect to a unix socket, as for chmod; else 777."
    )
    unix_socket_owner: str | None = option(
        None, read_owner, "OWNER", "Whose a unix socket is, as for chown: user:group."
    )
    limit_request_body: int = option(
        1 << 30,
        read_bytes,
        "BYTES",
        "Largest body, e.g. 16M; a larger one gets 413; 0: no limit.",
        words=True,
    )
    sizing: str = "1: not asked"
    """Why there are ``wanted`` workers, e.g. ``2: one per CPU``."""
    wanted: int = 1
    log_to_files: bool = False
    """Whether the cluster is in the background, so its logs are in files of its folder."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each setting that is no default comes from, as its user wrote it: ``--workers``."""

    @property
    def threads_min(self) -> int:
        """Threads that each worker always has."""
        return int(str(self.threads).partition(":")[0])

    @property
    def threads_max(self) -> int:
        """Threads that each worker has at most."""
        return int(str(self.threads).rpartition(":")[2])

    def sized(self, workers: int | None, wanted: int, sizing: str) -> Self:
        """These, with another number of workers: as asked for (None: auto), as it is, and why."""
        sources = {name: source for name, source in self.sources.items() if name != "workers"}
        if workers is not None:
            sources["workers"] = sizing.partition(": ")[2]
        return replace(self, workers=workers, wanted=wanted, sizing=sizing, sources=sources)

    def sized_as(self, other: Self) -> Self:
        """These, with as many workers as those, for the same reason."""
        return self.sized(other.workers, other.wanted, other.sizing)

    def values(self) -> dict[str, Any]:
        """Every setting as it is, as a dict that ``json`` takes."""
        return {name: _as_json(value) for name, value in asdict(self).items()}

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads back, in this version and, where it can, in another."""
        return filled(self.values(), _defaults())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The settings ``to_json`` wrote, in this or another version.

        What is missing, or was only the default then, is the default; `unknown_in`
        tells what is not read. LauncherError when there are no settings in it.
        """
        if missing := sorted(NEEDED - data.keys()):
            raise LauncherError(f"settings without {', '.join(map(repr, missing))}")
        values: dict[str, Any] = {}
        for name, hint in get_type_hints(cls).items():
            if name not in data or not is_wish(name, data[name], data.get("sources")):
                continue
            row = OPTIONS_BY_NAME.get(name)
            if not (fits(data[name], hint) and (row is None or row.takes(data[name]))):
                raise LauncherError(f"settings with a wrong value for {name!r}")
            values[name] = tuple(data[name]) if isinstance(data[name], list) else data[name]
        if not 1 <= values["wanted"] <= MAX_WORKERS:
            raise LauncherError("settings with a wrong value for 'wanted'")
        return cls(**values)

    @classmethod
    def unknown_in(cls, data: Mapping[str, Any]) -> list[str]:
        """The keys in what another version wrote that mean nothing in this one."""
        odd = data.keys() - get_type_hints(cls).keys()
        return sorted(name for name in odd if is_wish(name, data[name], data.get("sources")))


def _as_json(value: Any) -> Any:
    """A field of ``Settings`` as JSON knows it."""
    return list(value) if isinstance(value, tuple) else value


def _defaults() -> dict[str, Any]:
    """The default of every field that has one whatever the machine; as JSON knows it."""
    return {entry.name: _as_json(entry.default) for entry in fields(Settings)}


PORT = Option(
    "port",
    whole(0, 65_535),
    "Listen on this port of 127.0.0.1; 0: any free one.",
    metavar="PORT",
    short="-p",
    kinds=(int,),
)
"""Not a setting of its own: another way to say ``--bind 127.0.0.1:PORT``."""


def _options() -> Iterable[Option]:
    hints = get_type_hints(Settings)
    for entry in fields(Settings):
        if "option" in entry.metadata:
            default = None if entry.default is MISSING else entry.default
            row = dict(entry.metadata["option"])
            kinds = kinds_of(hints[entry.name], row.pop("words"))
            yield Option(name=entry.name, default=default, kinds=kinds, **row)
        if entry.name == "bind":
            yield PORT


OPTIONS: tuple[Option, ...] = tuple(_options())
OPTIONS_BY_NAME = {row.name: row for row in OPTIONS}

FIXED_AT_START = frozenset(
    {"name", "bind", "threads", "policy", "backlog", "queue_timeout", "rerun", "max_restarts"}
    | {"queue_size", "status_bind"}
    | {"unix_socket_mode", "unix_socket_owner"}
)
"""What the primary sets itself up with: a reload cannot change it."""
