"""One row of the table of options: what users may set, by which names, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

from launcher.config.readers import read_switch

__all__ = ["Option", "kinds_of", "option"]


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
    path: bool = False
    """Whether it names a file or folder."""
    beside_app: bool = False
    """Whether it names a file that may also be in ``--chdir``."""
    kinds: tuple[type, ...] = (str,)
    """The types that its value may have in ``cluster.toml``."""

    @property
    def switch(self) -> bool:
        """Whether it is on or off and takes no value: ``--preload/--no-preload``."""
        return self.read is read_switch

    @property
    def flag(self) -> str:
        """What it is called on the command line."""
        return self.metavar if self.positional else "--" + self.name.replace("_", "-")

    def takes(self, value: Any) -> bool:
        """Whether ``value``, of the right type, is one that could have been read.

        Not whether files are there: they may have gone since.
        """
        if value is None or self.switch or self.path:
            return True
        try:
            for part in value if self.repeatable else (value,):
                self.read(f"{part:.9f}" if isinstance(part, float) else str(part))
        except (ValueError, OSError):
            return False
        return True

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
    path: bool = False,
    beside_app: bool = False,
    words: bool = False,
) -> Any:
    """A field of ``Settings`` that users may set; a callable default is called for each.

    ``words``: besides what its type says, also texts are a value of it.
    """
    row = {
        "read": read,
        "metavar": metavar,
        "help": help_text,
        "short": short,
        "repeatable": repeatable,
        "positional": positional,
        "path": path,
        "beside_app": beside_app,
        "words": words,
    }
    if callable(default):
        return field(default_factory=default, metadata={"option": row})
    return field(default=default, metadata={"option": row})


def kinds_of(hint: Any, words: bool) -> tuple[type, ...]:
    """The types of its values, by the type of a field: ``int | None``: (int,), ``float``: both."""
    named = [kind for kind in get_args(hint) if kind not in (type(None), ...)] or [hint]
    extra = [int] if float in named else [str] if words else []
    return (*named, *extra)
