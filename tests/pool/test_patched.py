"""An app that gevent or eventlet has patched is refused in one line, whoever patched it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from launcher.pool.loading.patched import patched_by
from tests.pool.tools import ended, last_line
from tests.support import ROOT

MONKEY = """
patched = set()


def is_module_patched(name):
    return name in patched


def patch_all():
    patched.update(("thread", "socket", "select"))
    import select
    for name in ("epoll", "poll"):
        vars(select).pop(name, None)
"""
"""What matters of gevent.monkey: it tells, and its functions for waiting are not the kernel's."""

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""

PATCH = "import gevent.monkey\ngevent.monkey.patch_all()\n"

HOOK = f"def post_fork(server, worker):\n    {PATCH.replace(chr(10), '; ')}\n"


@pytest.mark.parametrize(
    ("app", "config", "options"),
    [
        (PATCH + APP, "", ()),
        (PATCH + APP, "", ("--no-preload",)),
        (APP, PATCH, ()),
        (APP, HOOK, ()),
    ],
    ids=["app", "app that is not preloaded", "configuration", "hook"],
)
def test_it_is_told_in_the_last_line(
    tmp_path: Path, app: str, config: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "gevent").mkdir()
    (tmp_path / "gevent" / "__init__.py").touch()
    (tmp_path / "gevent" / "monkey.py").write_text(MONKEY)
    (tmp_path / "green.py").write_text(app)
    (tmp_path / "conf.py").write_text(config)
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    arguments = ("green:app", "--port", "0", "-w", "1", "--gunicorn-config", "conf.py", *options)
    reason = last_line(ended(tmp_path, "run", *arguments, PYTHONPATH=path))
    assert reason.startswith("launcher: cannot serve 'green:app': gevent has patched")
    assert reason.endswith("leave the monkey-patching out")


@pytest.mark.parametrize(
    ("library", "module", "function"),
    [
        ("gevent", "gevent.monkey", "is_module_patched"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched"),
    ],
)
def test_only_what_is_patched_counts(
    monkeypatch: pytest.MonkeyPatch, library: str, module: str, function: str
) -> None:
    """To have such a library imported does no harm."""
    patched: set[str] = set()
    stand_in = ModuleType(module)
    setattr(stand_in, function, lambda name: name in patched)
    monkeypatch.setitem(sys.modules, module, stand_in)
    assert patched_by() is None
    patched.add("builtins")
    assert patched_by() is None
    patched.add("socket")
    assert patched_by() == library
