"""Which object of a module is the app, where that is not said or is misspelt."""

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from gunicorn.errors import AppImportError
from gunicorn.util import import_app

__all__ = ["find_app"]

USUAL = ("app", "application", "create_app()")
"""What a module's app is called where its name alone is given; as Flask looks for it."""


def find_app(name: str) -> Any:
    """Import ``module``, ``module:attribute`` or ``module:factory()``; the object it names.

    Raises AppImportError when the module has no such thing, with what may be meant, and
    whatever the module raises as it is imported.
    """
    module, colon, _ = name.partition(":")
    if not colon:
        return import_app(f"{module}:{_usual(module)}")
    try:
        return import_app(name)
    except AppImportError as error:
        raise AppImportError(f"{error}{_hint(name)}") from None


def _usual(module: str) -> str:
    there = import_module(module)
    for each in USUAL:
        if callable(getattr(there, each.removesuffix("()"), None)):
            return each
    raise AppImportError(
        f"{module!r} has neither {', '.join(USUAL[:-1])} nor {USUAL[-1]}:"
        f" say which is its app: {module}:NAME"
    )


def _hint(name: str) -> str:
    """What the module has that is spelt like that."""
    module, _, attribute = name.partition(":")
    wanted, bracket, _ = attribute.partition("(")
    there = vars(sys.modules.get(module, object))
    if wanted in there:
        return ""
    known = [each for each in there if callable(there[each]) and not each.startswith("_")]
    near = get_close_matches(wanted, known, n=1)
    return f" Did you mean {near[0]}{'()' if bracket else ''}?" if near else ""
