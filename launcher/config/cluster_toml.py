"""``cluster.toml``: the settings of several apps, and their environment.

    [defaults]              for every app in the file
    threads = 8

    [apps.web]              the name of the cluster is web
    app = "shop:app"
    bind = "0.0.0.0:8000"
    env = { MODE = "shop" }

    [apps.web.environments.staging]     with --environment staging: over those of the app
    workers = 1

Keys are the options with underscores; what is relative is relative to the
folder of the file. A mistake is one line with the file, the line and the key.

The values in ``env`` are read again by every pool, for itself (`environment`):
they are in no ``Settings``, no message and no other file.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any, NoReturn

from launcher.config.option import Option
from launcher.config.readers import check_name, open_regular
from launcher.config.resolve import Given, Layer, Section
from launcher.config.settings import OPTIONS_BY_NAME
from launcher.config.toml_lines import Path, lines, refused, with_line
from launcher.errors import LauncherError
from launcher.folders import absolute

__all__ = ["FILE", "ConfigFile", "environment", "read_small"]

FILE = "cluster.toml"
MAX_SIZE = 256 * 1024

ENVIRONMENTS = "environments"
ADDRESS = {"bind", "port"}

KEYS = {name: row for name, row in OPTIONS_BY_NAME.items() if name not in ("name", "config")}

WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
FOUND = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
FOUND |= {list: "a list", dict: "a table"}


@dataclass(frozen=True)
class ConfigFile:
    """A file without mistakes, as far as the texts of its values are not concerned."""

    path: str
    sections: Mapping[str, Section]
    environments: Mapping[str, Mapping[str, Layer]]
    """By app and environment: what stands over the app's section."""

    @classmethod
    def load(cls, path: str) -> "ConfigFile":
        """Read the file. LauncherError for the first thing that is wrong with it."""
        document = _Document.read(path)
        sections = {name: document.section(name) for name in document.apps()}
        environments = {name: document.environments(name) for name in sections}
        return cls(document.path, sections, environments)

    def section(self, name: str, environment: str | None = None) -> Section:
        """What the file says about an app, there; LauncherError if that is not in it."""
        if name not in self.sections:
            known = ", ".join(self.sections)
            raise LauncherError(f"{self.path}: has no app {name!r}, only: {known}")
        section = self.sections[name]
        if environment is None:
            return section
        known = ", ".join(self.environments[name])
        if environment not in self.environments[name]:
            only = (
                f"only: {known}" if known else f"such as [apps.{name}.environments.{environment}]"
            )
            raise LauncherError(f"{self.path}: {name} has no environment {environment!r}, {only}")
        return section._replace(given=_over(section.given, self.environments[name][environment]))


def environment(path: str, name: str, of: str | None = None) -> dict[str, str]:
    """The variables that the file sets for an app now; ``of``: in this environment.

    LauncherError if it has no such app or environment.
    """
    return _Document.read(path).environment(name, of)


class _Document:
    """What a file holds, and the lines it stands in."""

    def __init__(self, path: str, text: str) -> None:
        self.path = absolute(path)
        self._shown = path
        self._text = text
        try:
            self._root = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise LauncherError(f"{path}{with_line(str(error), text)}") from None
        except RecursionError:
            raise LauncherError(f"{path}:{refused(text)}: is nested too deeply") from None
        except ValueError:  # sys.get_int_max_str_digits
            raise LauncherError(f"{path}:{refused(text)}: a number has too many digits") from None

    @classmethod
    def read(cls, path: str) -> "_Document":
        try:
            return cls(path, read_small(path).decode())
        except UnicodeDecodeError:
            raise LauncherError(f"{path}: is not UTF-8 text") from None

    def apps(self) -> list[str]:
        """The names of the apps, in the order of the file. Checks what belongs to none of them."""
        for key in self._root:
            if key not in ("defaults", "apps"):
                self._refuse((key,), _unknown(key, ["defaults", "apps"], self._table_of(key)))
        self._given(("defaults",))
        self._environment_of(("defaults",))
        names = list(self._table(("apps",)))
        if not names:
            raise LauncherError(f"{self._shown}: has no apps: each has a table like [apps.web]")
        return names

    def section(self, name: str) -> Section:
        where = ("apps", name)
        try:
            check_name(name)
        except ValueError as error:
            self._refuse(where, str(error))
        self._environment_of(where)
        return Section(self.path, name, _over(self._given(("defaults",)), self._given(where)))

    def environments(self, name: str) -> dict[str, Layer]:
        found = {}
        for each in self._table(("apps", name, ENVIRONMENTS)):
            where = ("apps", name, ENVIRONMENTS, each)
            self._environment_of(where)
            found[each] = self._given(where)
        return found

    def environment(self, name: str, of: str | None) -> dict[str, str]:
        if name not in self._table(("apps",)):
            raise LauncherError(f"{self._shown}: has no app {name!r} any more")
        found = self._environment_of(("defaults",)) | self._environment_of(("apps", name))
        if of is None:
            return found
        if of not in self._table(("apps", name, ENVIRONMENTS)):
            raise LauncherError(f"{self._shown}: {name} has no environment {of!r} any more")
        return found | self._environment_of(("apps", name, ENVIRONMENTS, of))

    def _given(self, where: Path) -> Layer:
        layer = {}
        for key, value in self._table(where).items():
            if key == "env" or (key == ENVIRONMENTS and len(where) == 2):  # of an app
                continue
            place = (*where, key)
            if key not in KEYS or (key == "environment" and len(where) > 2):
                self._refuse(place, _unknown(key, [*KEYS, "env"], _hint(key)))
            layer[key] = self._read(KEYS[key], value, place)
        return layer

    def _read(self, row: Option, value: object, place: Path) -> Given:
        values = value if row.repeatable and isinstance(value, list) else [value]
        for each in values:
            # `type(...) in`, not isinstance: true is no number.
            if type(each) not in row.kinds:
                self._refuse(place, f"is {_found(each)}, not {_wanted(row)}")
        texts = tuple(_text(row, each, os.path.dirname(self.path)) for each in values)
        find = partial(self._place, place)
        return Given(os.path.basename(self.path), texts or ("",), row.read, find)

    def _environment_of(self, where: Path) -> dict[str, str]:
        values = self._table((*where, "env"))
        for key, value in values.items():
            place = (*where, "env", key)
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                self._refuse(place, "is not the name of a variable")
            if type(value) not in (str, int):
                self._refuse(place, f"is {_found(value)}, not a string")
            if "\0" in str(value):
                self._refuse(place, "holds a NUL")
        return {key: str(value) for key, value in values.items()}

    def _table(self, where: Path) -> Mapping[str, Any]:
        value: Any = self._root
        for depth, key in enumerate(where):
            value = value.get(key, {})
            if not isinstance(value, dict):
                self._refuse(where[: depth + 1], f"is {_found(value)}, not a table")
        table: dict[str, Any] = value
        return table

    def _table_of(self, key: str) -> str:
        """What was meant by a table of another name: most likely an app."""
        table = isinstance(self._root[key], dict)
        return f"an app has a table [apps.{key}]" if table and key.isalnum() else ""

    def _refuse(self, place: Path, problem: str) -> NoReturn:
        raise LauncherError(f"{self._place(place)}: {problem}")

    def _place(self, place: Path) -> str:
        return f"{self._shown}:{self._lines.get(place, '?')}: {'.'.join(place)}"

    @cached_property
    def _lines(self) -> dict[Path, int]:
        return lines(self._text)


def read_small(path: str) -> bytes:
    """What is in a file of the user's. LauncherError if it is no regular file, or too large."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise LauncherError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_SIZE:
        raise LauncherError(f"{path}: is larger than {MAX_SIZE >> 10} KiB")
    return data


def _over(below: Layer, above: Layer) -> Layer:
    """Both, the upper one first; an address of it stands for all of the lower one's."""
    if below.keys() & ADDRESS and above.keys() & ADDRESS:
        below = {key: value for key, value in below.items() if key not in ADDRESS}
    return below | above


def _unknown(key: str, known: list[str], hint: str) -> str:
    nearest = get_close_matches(key.replace("-", "_"), known, n=1)
    if nearest:
        hint = f"did you mean {nearest[0]!r}?"
    return f"unknown key: {hint or 'possible are ' + ', '.join(sorted(known))}"


def _hint(key: str) -> str:
    return "the name of an app is that of its table, [apps.NAME]" if key == "name" else ""


def _text(row: Option, value: object, folder: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if not row.path or not text or text.startswith("python:"):
        return text
    return os.path.join(folder, text.removeprefix("file:"))


def _found(value: object) -> str:
    return FOUND.get(type(value), "a date or time")


def _wanted(row: Option) -> str:
    kinds = [float] if float in row.kinds else row.kinds
    words = " or ".join(WORDS[kind] for kind in kinds)
    return f"{words}, or a list of them" if row.repeatable else words
