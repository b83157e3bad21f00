"""What a cluster is started with, and where each value comes from.

``Settings`` is also the table of options: the row of a field holds its type,
default, reader, help and flag. The command line, the ``LAUNCHER_<OPTION>``
variables and (later) the keys of ``cluster.toml`` are derived from it through
``OPTIONS``, so a new option is one new row.

Precedence, in ``resolve`` only: flags > ``LAUNCHER_<OPTION>`` > cluster.toml
(later) > the variables platforms set (``PORT``, ``WEB_CONCURRENCY``) > defaults.

Knows nothing of click, gunicorn or processes: texts in, one frozen value out.
"""

import errno
import ipaddress
import os
import re
import stat
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_type_hints

from launcher.errors import LauncherError, UsageError

if TYPE_CHECKING:
    from launcher.sizing import Sizing

__all__ = [
    "OPTIONS",
    "POLICIES",
    "BindAddress",
    "Option",
    "Settings",
    "check_name",
    "parse_bind",
    "resolve",
    "resolve_sizing",
]

POLICIES = ("round-robin", "least-busy", "sticky", "kernel")

DEFAULT_APP = "app:create_app()"
DEFAULT_BIND = ("127.0.0.1:3000",)
MAX_WORKERS = 512
MAX_SECONDS = 86_400
"""A day: longer waits are typing mistakes, and epoll takes milliseconds in 32 bits."""

UNIX_PATH_MAX = 107
"""Bytes of ``sun_path`` without its final NUL; see unix(7)."""

# ---------------------------------------------------------------------------
# Readers: text -> value. ValueError carries the rest of the sentence that
# starts with the source and the text; OSError means the text is well formed
# but the file system does not agree (exit 1 instead of 2).
# ---------------------------------------------------------------------------


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``.

    Stricter than ``int()``, which takes ``1_000``, `` 1 `` and other scripts' digits.
    """

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(low: float) -> Callable[[str], float]:
    """A reader of durations from ``low`` seconds to a day; no exponents, nan or inf."""

    def read(text: str) -> float:
        plain = re.fullmatch(r"[0-9]{1,10}(\.[0-9]{0,9})?|\.[0-9]{1,9}", text)
        if not plain or not low <= float(text) <= MAX_SECONDS:
            raise ValueError(f"is not a number of seconds from {low:g} to {MAX_SECONDS}")
        return float(text)

    return read


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """A reader that takes the words in ``choices`` and no other."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return read


def read_workers(text: str) -> int | None:
    """A number of workers, or None for ``auto``."""
    if text == "auto":
        return None
    try:
        return whole(1, MAX_WORKERS)(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor auto") from None


def read_switch(text: str) -> bool:
    """On or off, in the words people put into variables."""
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("is neither 1 (true, yes, on) nor 0 (false, no, off)")
    return words[text.lower()]


def read_path(text: str) -> str:
    """The path part of a URL, as it is sent."""
    if not re.fullmatch(r"/[!-~]*", text):
        raise ValueError("is not a path: write /healthz")
    return text


def read_bytes(text: str) -> int:
    """A size in bytes, with K, M or G for powers of 1024."""
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text)
    if not match:
        raise ValueError("is not a size: write 300M, 1G or a number of bytes")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def read_app(text: str) -> str:
    """``module:attribute`` or ``module:factory()``; whether it exists only the pool can tell."""
    module = text.partition(":")[0]
    if not module or not text.isprintable() or module != module.strip():
        raise ValueError("is not module:attribute or module:factory()")
    if "/" in module or module.endswith(".py"):
        raise ValueError("is a file; name its module: myapp:app for the app in myapp.py")
    return text


def read_folder(text: str) -> str:
    """The absolute path of a folder this user may enter."""
    path = os.path.abspath(text)
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def read_gunicorn_config(text: str) -> str:
    """The path of gunicorn's configuration, or its ``python:module`` as it is."""
    return text if text.startswith("python:") else read_file(text.removeprefix("file:"))


def read_file(text: str) -> str:
    """The absolute path of a readable file.

    Relative to the folder the command is given in, not to ``--chdir``, as in gunicorn.
    """
    path = os.path.abspath(text)
    with open(path, "rb"):  # a folder or an unreadable file is told now, not by the pool
        return path


def check_name(text: str) -> str:
    """A cluster's name: also the name of its folder, and an argument of every command."""
    if text == "all":
        raise ValueError("means every cluster and cannot be the name of one")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(
            "is not a name: up to 64 letters, digits, dots, dashes and underscores,"
            " the first a letter or digit"
        )
    return text


def default_name(app: str) -> str:
    """The module part of ``app``, made to follow the rule of ``check_name``."""
    module = app.partition(":")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", module).lstrip("._-")[:64] or "app"
    return f"{name}-app" if name == "all" else name


# ---------------------------------------------------------------------------
# Addresses
# ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where a listener listens: only the fields that belong to ``kind`` are set."""

    kind: Literal["tcp4", "tcp6", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        """The canonical text, which ``parse_bind`` reads back to an equal address."""
        match self.kind:
            case "tcp4":
                return f"{self.host}:{self.port}"
            case "tcp6":
                return f"[{self.host}]:{self.port}"
            case "unix":
                return f"unix:{self.path}"
            case "fd":
                return f"fd://{self.fd}"


def parse_bind(text: str) -> BindAddress:
    """Read ``host:port``, ``[v6]:port``, ``:port``, ``port``, ``unix:path`` or ``fd://N``.

    ``:port`` is every IPv4 interface, a bare ``port`` only this machine. A host
    name means its IPv4 address. Port 0 lets the kernel choose.
    Raises ValueError with the rest of a sentence that starts with the text.
    """
    if text.startswith("unix:"):
        return _parse_unix(text)
    if text.startswith("fd://"):
        return _parse_fd(text)
    if text.startswith("["):
        return _parse_tcp6(text)
    return _parse_tcp4(text)


def _parse_unix(text: str) -> BindAddress:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path or "\0" in path:
        raise ValueError("names no path: write unix:/run/web.sock")
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise ValueError(f"is too long: a unix socket's path has at most {UNIX_PATH_MAX} bytes")
    return BindAddress("unix", path=path)


def _parse_fd(text: str) -> BindAddress:
    try:
        return BindAddress("fd", fd=whole(0, 1_048_575)(text.removeprefix("fd://")))
    except ValueError:
        raise ValueError("names no descriptor: write fd://3") from None


def _parse_tcp6(text: str) -> BindAddress:
    host, closed, port = text[1:].partition("]")
    if not closed or not port.startswith(":"):
        raise ValueError("has no port: write [::1]:3000")
    try:
        canonical = str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ValueError("has no IPv6 address between its brackets") from None
    return BindAddress("tcp6", host=canonical, port=_parse_port(port[1:]))


def _parse_tcp4(text: str) -> BindAddress:
    host, colon, port = text.rpartition(":")
    if not colon and not text.isdigit():
        raise ValueError(
            "has no port: write 127.0.0.1:3000, [::1]:3000, :3000, unix:/path or fd://3"
        )
    if ":" in host:
        raise ValueError("looks like IPv6: put it in brackets, [::1]:3000")
    return BindAddress("tcp4", host=_parse_host(host, bare=not colon), port=_parse_port(port))


def _parse_host(host: str, *, bare: bool) -> str:
    if not host:
        return "127.0.0.1" if bare else "0.0.0.0"  # noqa: S104 -- asked for with ":port"
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("has no valid IPv4 address before its port") from None
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", host):
        raise ValueError("has no valid host before its port")
    return host.lower()


def _parse_port(text: str) -> int:
    try:
        return whole(0, 65_535)(text)
    except ValueError as error:
        raise ValueError(f"has a port that {error}") from None


def read_bind(text: str) -> str:
    """One address in its canonical text."""
    return str(parse_bind(text))


# ---------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One row: how a setting is called, read and explained."""

    name: str
    read: Callable[[str], Any]
    help: str
    default: Any = None
    metavar: str = ""
    short: str = ""
    repeatable: bool = False
    positional: bool = False

    @property
    def switch(self) -> bool:
        """Whether it is on or off and takes no value: ``--preload/--no-preload``."""
        return self.read is read_switch

    @property
    def flag(self) -> str:
        """What it is called on the command line."""
        return self.metavar if self.positional else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """What it is called in the environment."""
        return f"LAUNCHER_{self.name.upper()}"


def option(
    default: Any,
    read: Callable[[str], Any],
    metavar: str,
    help_text: str,
    *,
    short: str = "",
    repeatable: bool = False,
    positional: bool = False,
) -> Any:
    """A field of ``Settings`` that users may set; a callable default is called for each."""
    row = {
        "read": read,
        "metavar": metavar,
        "help": help_text,
        "short": short,
        "repeatable": repeatable,
        "positional": positional,
    }
    if callable(default):
        return field(default_factory=default, metadata={"option": row})
    return field(default=default, metadata={"option": row})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a cluster is started with. Durations are seconds.

    Plain JSON values only (``to_json``), because the primary sends it to its
    pools and the cluster's folder keeps it. Never holds the value of an
    environment variable that is not an option.
    """

    app: str = option(
        DEFAULT_APP,
        read_app,
        "APP",
        "module:attribute or module:factory() of the app.",
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
    )
    threads: int = option(4, whole(1, 1024), "N", "Threads of each worker.")
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
    boot_timeout: float = option(60.0, seconds(0.1), "SECONDS", "What a worker gets to be ready.")
    queue_timeout: float = option(
        30.0, seconds(0), "SECONDS", "Answer 503 to a connection that waited this long."
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
        os.getcwd, read_folder, "FOLDER", "Load and run the app in this folder, not the current."
    )
    gunicorn_config: str | None = option(
        None, read_gunicorn_config, "FILE", "gunicorn.conf.py with settings and server hooks."
    )
    rerun: bool = option(
        True, read_switch, "", "Run a safe request again, once, when its worker dies."
    )
    timeout: float = option(
        30.0, seconds(0), "SECONDS", "Answer 504 to a request that runs this long; 0: never."
    )
    health_path: str | None = option(
        None, read_path, "PATH", "A worker is ready only once it answers this path with 200."
    )
    max_requests: int = option(
        0, whole(0, 1_000_000_000), "N", "Recycle a worker after so many requests; 0: never."
    )
    max_memory: int = option(
        0, read_bytes, "BYTES", "Recycle a worker that uses more, e.g. 300M; 0: never."
    )
    max_lifetime: float = option(
        0.0, seconds(0), "SECONDS", "Recycle a worker after so long; 0: never."
    )
    env_file: str | None = option(
        None, read_file, "FILE", "KEY=VALUE lines for the app's environment, read at each reload."
    )
    access_log: bool = option(False, read_switch, "", "Log every request.")
    limit_request_line: int = option(
        8190, whole(0, 8190), "BYTES", "Longest request line; 0: no limit."
    )
    limit_request_fields: int = option(100, whole(1, 32_768), "N", "Most header fields.")
    limit_request_field_size: int = option(
        8190, whole(0, 2**31 - 1), "BYTES", "Longest header field; 0: no limit."
    )
    sizing: str = "1: not asked"
    """Why there are ``wanted`` workers, e.g. ``2: one per CPU``."""
    wanted: int = 1

    def to_json(self) -> dict[str, Any]:
        """This as a dict that ``json`` takes and ``from_json`` reads back."""
        return asdict(self) | {"bind": list(self.bind)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The settings ``to_json`` wrote; LauncherError when they are not."""
        hints = get_type_hints(cls)
        if data.keys() != hints.keys():
            odd = sorted(data.keys() ^ hints.keys())
            raise LauncherError(f"settings of another version: {', '.join(map(repr, odd))}")
        for name, hint in hints.items():
            if not _fits(data[name], hint):
                raise LauncherError(f"settings with a wrong value for {name!r}")
        return cls(**{**data, "bind": tuple(data["bind"])})


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value has the type of a field (a bool is no number here)."""
    if hint == tuple[str, ...]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


PORT = Option(
    "port",
    whole(0, 65_535),
    "Listen on this port of 127.0.0.1; 0: any free one.",
    metavar="PORT",
    short="-p",
)
"""Not a setting of its own: another way to say ``--bind 127.0.0.1:PORT``."""


def _options() -> Iterable[Option]:
    for row in fields(Settings):
        if "option" in row.metadata:
            default = None if row.default is MISSING else row.default
            yield Option(name=row.name, default=default, **row.metadata["option"])
        if row.name == "bind":
            yield PORT


OPTIONS: tuple[Option, ...] = tuple(_options())
OPTIONS_BY_NAME = {row.name: row for row in OPTIONS}

# ---------------------------------------------------------------------------
# Precedence
# ---------------------------------------------------------------------------


class Given(NamedTuple):
    """What a source says about one setting, not read yet: only the winner is."""

    source: str
    """As the user wrote it: ``--workers``, ``LAUNCHER_WORKERS``, ``WEB_CONCURRENCY``."""
    texts: tuple[str, ...]
    read: Callable[[str], Any]


Layer = dict[str, Given]


def resolve(flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Decide every setting.

    ``flags`` maps option names to what the command line holds: a text, a tuple
    of texts (repeatable ones), a bool (switches), or None where it says nothing.
    Raises UsageError for a value that is wrong in itself, LauncherError for one
    the file system does not agree with; the line names the source.
    """
    given = _merge(flags, environ)
    values = {name: _read(OPTIONS_BY_NAME[name], found) for name, found in given.items()}
    sizing = _sizing(values.get("workers"), given)
    values.setdefault("name", default_name(values.get("app", DEFAULT_APP)))
    values.setdefault("chdir", _current_folder())
    values["bind"] = _listen_on(values.get("bind", DEFAULT_BIND), values["chdir"])
    return Settings(**values, sizing=str(sizing), wanted=sizing.workers)


def scale_target(text: str, now: int) -> tuple[int, str]:
    """How many workers ``N``, ``+N``, ``-N`` or ``auto`` means where there are ``now``; and why.

    Raises UsageError for what is none of these, or is out of range.
    """
    if text == "auto":
        from launcher.sizing import size

        sizing = size()
        return sizing.workers, str(sizing)
    sign = {"+": 1, "-": -1}.get(text[:1], 0)
    try:
        number = whole(0, MAX_WORKERS)(text[1:] if sign else text)
    except ValueError as error:
        raise UsageError(f"{text!r} {error}, +N, -N, nor auto") from None
    workers = now + sign * number if sign else number
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError(f"{text!r} would make {workers} workers: 1 to {MAX_WORKERS} are possible")
    return workers, f"{workers}: scale {text}"


def resolve_sizing(environ: Mapping[str, str]) -> "Sizing":
    """How many workers a cluster started with these variables and no flags would have, and why."""
    given = _merge({}, environ)
    if "workers" not in given:
        return _sizing(None, given)
    return _sizing(_read(OPTIONS_BY_NAME["workers"], given["workers"]), given)


def _merge(flags: Mapping[str, object], environ: Mapping[str, str]) -> Mapping[str, Given]:
    """For every setting that any source speaks about, what the strongest source says."""
    layers = [_flag_layer(flags), _variable_layer(environ)]
    return ChainMap(*map(_port_as_bind, layers), _platform_layer(environ))


def _flag_layer(flags: Mapping[str, object]) -> Layer:
    layer = {}
    for row in OPTIONS:
        match flags.get(row.name):
            case None | ():
                continue
            case bool(switch):
                texts: tuple[str, ...] = ("on" if switch else "off",)
            case tuple(several):
                texts = several
            case text:
                texts = (str(text),)
        layer[row.name] = Given(row.flag, texts, row.read)
    return layer


def _variable_layer(environ: Mapping[str, str]) -> Layer:
    """The ``LAUNCHER_<OPTION>`` variables; an empty one counts as not set."""
    layer = {}
    for row in OPTIONS:
        if text := environ.get(row.variable):
            texts = tuple(text.split(",")) if row.repeatable else (text,)
            layer[row.name] = Given(row.variable, texts, row.read)
    return layer


def _platform_layer(environ: Mapping[str, str]) -> Layer:
    """What Heroku and its like set: the port is for the outside, so on every interface."""
    layer = {}
    if port := environ.get("PORT"):
        layer["bind"] = Given("PORT", (port,), _port_of("0.0.0.0"))  # noqa: S104
    if workers := environ.get("WEB_CONCURRENCY"):
        layer["workers"] = Given("WEB_CONCURRENCY", (workers,), whole(1, MAX_WORKERS))
    return layer


def _port_as_bind(layer: Layer) -> Layer:
    """A layer whose ``port`` has become the ``bind`` it stands for."""
    port = layer.pop("port", None)
    if port is None:
        return layer
    if "bind" in layer:
        raise UsageError(f"{port.source} and {layer['bind'].source}: give one of them")
    return layer | {"bind": port._replace(read=_port_of("127.0.0.1"))}


def _port_of(host: str) -> Callable[[str], str]:
    return lambda text: f"{host}:{PORT.read(text)}"


def _read(row: Option, given: Given) -> Any:
    values = tuple(_read_text(given, text) for text in given.texts)
    return values if row.repeatable else values[0]


def _read_text(given: Given, text: str) -> Any:
    shown = repr(text if len(text) <= 60 else f"{text[:59]}\N{HORIZONTAL ELLIPSIS}")
    try:
        if not text or "\0" in text:
            raise ValueError("holds a NUL" if text else "is empty")
        return given.read(text)
    except ValueError as error:
        raise UsageError(f"{given.source}: {shown} {error}") from None
    except OSError as error:
        raise LauncherError(f"{given.source}: {shown}: {error.strerror}") from None


def _sizing(workers: int | None, given: Mapping[str, Given]) -> "Sizing":
    from launcher.sizing import Sizing, size

    return size() if workers is None else Sizing(workers, given["workers"].source)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise LauncherError(f"the current folder is gone ({error.strerror}): cd again") from None


def _listen_on(addresses: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """The addresses with sockets' paths made absolute from ``--chdir``, as gunicorn does."""
    for address in addresses:
        if addresses.count(address) > 1 and not address.endswith(":0"):
            raise UsageError(f"{address!r} is given more than once as an address to listen on")
    return tuple(_absolute(parse_bind(address), folder) for address in addresses)


def _absolute(address: BindAddress, folder: str) -> str:
    """Raises UsageError when the path only fits its limit as long as it is relative."""
    if address.kind != "unix":
        return str(address)
    try:
        return read_bind(f"unix:{os.path.join(folder, address.path)}")
    except ValueError as error:
        raise UsageError(f"{str(address)!r} in {folder} {error}") from None
