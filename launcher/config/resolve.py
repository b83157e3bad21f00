"""Which source of a setting wins, and what its text means.

Precedence, in ``resolve`` only: flags > ``LAUNCHER_<OPTION>`` > cluster.toml >
the variables platforms set (``PORT``, ``WEB_CONCURRENCY``) > defaults.

Knows nothing of click, gunicorn or processes: texts in, one frozen value out.
"""

import os
import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher.config.address import BindAddress, parse_bind, read_bind
from launcher.config.option import Option
from launcher.config.readers import MAX_WORKERS, whole
from launcher.config.settings import (
    DEFAULT_APP,
    DEFAULT_BIND,
    OPTIONS,
    OPTIONS_BY_NAME,
    PORT,
    Settings,
)
from launcher.config.variables import without_services
from launcher.errors import LauncherError, UsageError
from launcher.folders import current_folder

if TYPE_CHECKING:
    from launcher.sizing import Sizing

__all__ = ["Given", "Layer", "Section", "given_by", "resolve", "resolve_sizing", "scale_target"]


class Given(NamedTuple):
    """What a source says about one setting, not read yet: only the winner is."""

    source: str
    """As the user wrote it: ``--workers``, ``LAUNCHER_WORKERS``, ``WEB_CONCURRENCY``."""
    texts: tuple[str, ...]
    read: Callable[[str], Any]
    place: Callable[[], str] | None = None
    """Finds where it is in a file; a file's mistakes are not the command's."""

    @property
    def where(self) -> str:
        """What a line about a mistake begins with."""
        return self.place() if self.place else self.source


Layer = dict[str, Given]


class Section(NamedTuple):
    """What ``cluster.toml`` says about one app."""

    config: str
    """The absolute path of the file."""
    name: str
    given: Layer

    @property
    def folder(self) -> str:
        """Where the file is: what is relative in it is relative to this."""
        return os.path.dirname(self.config)


def resolve(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    section: Section | None = None,
    folder: str | None = None,
) -> Settings:
    """Decide every setting.

    ``flags`` maps option names to what the command line holds: a text, a tuple
    of texts (repeatable ones), a bool (switches), or None where it says nothing.
    ``section`` also decides the name. ``folder``: where it runs without ``--chdir``,
    if not in the current one. Raises UsageError for a value that is
    wrong in itself, LauncherError for one the file or the file system does not
    agree with; the line names the source.
    """
    given = _merge(flags, environ, section)
    if section is None and "environment" in given:
        raise UsageError(f"{given['environment'].source} is for apps of a cluster.toml")
    rows = OPTIONS_BY_NAME
    values = {key: _read(rows[key], given[key]) for key in given if not rows[key].beside_app}
    beside = values.get("chdir") if "chdir" in given else None
    values |= {
        key: _read(rows[key], _found(given[key], beside)) for key in given if rows[key].beside_app
    }
    sizing = _sizing(values.get("workers"), given)
    sources = {name: found.source for name, found in given.items()}
    if section:
        sources["name"] = sources["config"] = os.path.basename(section.config)
        values |= {"name": section.name, "config": section.config}
    values.setdefault("name", default_name(values.get("app", DEFAULT_APP)))
    folder = section.folder if section else folder
    values.setdefault("chdir", folder or current_folder(environ))
    values["bind"] = _listen_on(values.get("bind", DEFAULT_BIND), values["chdir"])
    if status := values.get("status_bind"):
        values["status_bind"] = _absolute(parse_bind(status), values["chdir"])
    return Settings(**values, sizing=str(sizing), wanted=sizing.workers, sources=sources)


def given_by(flags: Mapping[str, object], environ: Mapping[str, str]) -> Layer:
    """What the command line and ``LAUNCHER_<OPTION>`` variables say, e.g. for ``--config``."""
    return _variable_layer(environ) | _flag_layer(flags)


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


def _merge(
    flags: Mapping[str, object], environ: Mapping[str, str], section: Section | None = None
) -> Mapping[str, Given]:
    """For every setting that any source speaks about, what the strongest source says."""
    layers = [_flag_layer(flags), _variable_layer(environ)]
    if section:
        layers.append(dict(section.given))
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
    environ = without_services(environ)
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
        bind = layer["bind"]
        raise _fault(port)(f"{port.where} and {bind.where}: give one of them")
    return layer | {"bind": port._replace(read=_port_of("127.0.0.1"))}


def _port_of(host: str) -> Callable[[str], str]:
    return lambda text: f"{host}:{PORT.read(text)}"


def _found(given: Given, folder: str | None) -> Given:
    """A file that is in ``--chdir`` and not in the current folder, by its path from here.

    Raises LauncherError when it is in neither.
    """
    (text,) = given.texts
    if not folder or not text or os.path.isabs(text) or ":" in text or os.path.exists(text):
        return given
    path = os.path.join(folder, text)
    if not os.path.exists(path):
        raise LauncherError(f"{given.where}: {text!r} is neither in {os.getcwd()} nor in {folder}")
    return given._replace(texts=(path,))


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
        raise _fault(given)(f"{given.where}: {shown} {error}") from None
    except OSError as error:
        raise LauncherError(f"{given.where}: {shown}: {error.strerror}") from None


def _fault(given: Given) -> type[LauncherError]:
    return LauncherError if given.place else UsageError


def _sizing(workers: int | None, given: Mapping[str, Given]) -> "Sizing":
    from launcher.sizing import Sizing, size

    return size() if workers is None else Sizing(workers, given["workers"].source)


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


def default_name(app: str) -> str:
    """The module part of ``app``, made to follow the rule of ``check_name``."""
    module = app.partition(":")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", module).lstrip("._-")[:64] or "app"
    return f"{name}-app" if name == "all" else name
