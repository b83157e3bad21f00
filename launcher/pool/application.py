"""The app and gunicorn's configuration, as the pool loads them."""

from __future__ import annotations

import importlib
import inspect
import os
import runpy
import sys
import traceback
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.util import import_app

import launcher
from launcher.errors import LauncherError
from launcher.ipc.boot import Boot
from launcher.ipc.messages import shortened
from launcher.pool.logger import Logger
from launcher.settings import Settings

_NOT_OF_THE_FILE = frozenset(
    {"bind", "backlog", "daemon", "keepalive", "max_requests", "pidfile", "reload", "wsgi_app"}
)
"""gunicorn's settings that mean nothing in its configuration file here; and so do those
that `_ours` overrides."""

_OURS = (os.path.dirname(launcher.__file__), os.path.dirname(os.path.dirname(traceback.__file__)))


class LoadError(Exception):
    """The app, or gunicorn's configuration, cannot be loaded.

    ``reason`` is one line; ``detail`` is the traceback of the app's own frames.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = shortened(reason, 1_000)
        self.detail = shortened(detail, 50_000)


class Application(BaseApplication):
    """gunicorn's view of the app: the configuration and the callable."""

    cfg: Config

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.unused: list[str] = []
        """What the user's gunicorn.conf.py sets in vain."""
        super().__init__(prog="launcher")

    def do_load_config(self) -> None:
        """Overridden: gunicorn's prints and exits; here the primary is told."""
        self.cfg = Config(prog=self.prog)
        self.load_config()

    def load_config(self) -> None:
        """gunicorn's defaults < the user's gunicorn.conf.py < what is ours to set."""
        settings = self.boot.settings
        _enter(settings.chdir)
        if settings.env_file:
            os.environ.update(_read_env_file(settings.env_file))
        if settings.config:
            os.environ.update(_read_config(settings.config, settings.name))
        if settings.gunicorn_config:
            self._load_file(settings.gunicorn_config)
        for key, value in _ours(settings).items():
            self.cfg.set(key, value)
        folders = (self.cfg.pythonpath or "").split(",")
        sys.path[:0] = [os.path.abspath(folder) for folder in folders if folder]

    def load(self) -> Any:
        """Import the app and return its WSGI callable. Raises LoadError."""
        name = self.boot.settings.app
        try:
            app = import_app(name)
        except AppImportError as error:
            raise LoadError(f"cannot load {name!r}: {error}") from None
        except SystemExit as error:
            raise LoadError(
                f"cannot load {name!r}: it called sys.exit({error.code!r}) while it was loaded",
                app_traceback(error),
            ) from None
        except ModuleNotFoundError as error:
            raise LoadError(*_module_not_found(name, self.boot.settings.chdir, error)) from None
        except BaseException as error:
            summary = traceback.format_exception_only(error)[-1].strip()
            raise LoadError(f"cannot load {name!r}: {summary}", app_traceback(error)) from None
        return _wsgi_app(name, app)

    def _load_file(self, path: str) -> None:
        try:
            values = _values_of(path)
        except BaseException as error:
            summary = traceback.format_exception_only(error)[-1].strip()
            raise LoadError(f"cannot load {path}: {summary}", app_traceback(error)) from None
        ours = _NOT_OF_THE_FILE | _ours(self.boot.settings).keys()
        for key, value in values.items():
            if key not in self.cfg.settings:
                continue
            if key in ours:
                self.unused.append(key)
                continue
            try:
                self.cfg.set(key, value)
            except Exception as error:
                raise LoadError(f"{path}: {key} = {value!r}: {error}") from None


def _wsgi_app(name: str, app: Any) -> Any:
    """``app``, unless it is plain that it cannot be called as PEP 3333 says: LoadError then."""
    if any(map(inspect.iscoroutinefunction, (app, type(app).__call__))):
        raise LoadError(f"cannot load {name!r}: it is an ASGI app, and this serves WSGI apps")
    try:
        takes = inspect.signature(app)
    except (TypeError, ValueError):  # of an extension module
        return app
    try:
        takes.bind({}, print)
    except TypeError:
        raise LoadError(
            f"cannot load {name!r}: it does not take (environ, start_response);"
            f" if it makes the app, write '{name}()'"
        ) from None
    return app


def _values_of(path: str) -> dict[str, Any]:
    if path.startswith("python:"):
        return vars(importlib.import_module(path.removeprefix("python:")))
    return runpy.run_path(path)


def _read_config(path: str, name: str) -> dict[str, str]:
    """The variables that cluster.toml sets for this app now. They win over the others."""
    from launcher.config_file import environment

    try:
        return environment(path, name)
    except LauncherError as error:
        raise LoadError(f"cannot read the environment: {error}") from None


def _read_env_file(path: str) -> dict[str, str]:
    """The variables a file sets. They win over those the launcher was started with."""
    from dotenv import dotenv_values  # only who has such a file waits for it

    try:
        with open(path, encoding="utf-8") as file:  # by itself, dotenv takes a lost file for empty
            values = dotenv_values(stream=file)
    except (OSError, ValueError) as error:
        raise LoadError(f"cannot read the environment in {path}: {error}") from None
    return {key: value for key, value in values.items() if value is not None}


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise LoadError(f"cannot enter {folder}: {error.strerror}") from None


def _ours(settings: Settings) -> dict[str, Any]:
    values: dict[str, Any] = {
        # What the primary decides is not gunicorn's to decide.
        "worker_class": "launcher.worker.process.Worker",
        "logger_class": Logger,
        "workers": settings.wanted,
        "timeout": 0,
        # Shared per user, and stolen by the second instance.
        "control_socket_disable": True,
        "threads": settings.threads,
        "preload_app": settings.preload,
        "graceful_timeout": int(settings.graceful_timeout),
        "proc_name": settings.name,
        "limit_request_line": settings.limit_request_line,
        "limit_request_fields": settings.limit_request_fields,
        "limit_request_field_size": settings.limit_request_field_size,
        "chdir": settings.chdir,
    }
    if settings.log_to_files:
        values["capture_output"] = False  # what is printed is in our files
    if settings.access_log:
        values["accesslog"] = "-"
    return values


def _module_not_found(name: str, folder: str, error: ModuleNotFoundError) -> tuple[str, str]:
    module = name.split(":")[0]
    if error.name and (module == error.name or module.startswith(f"{error.name}.")):
        return f"cannot load {name!r}: there is no module {error.name!r} in {folder}", ""
    return f"cannot load {name!r}: {error}", app_traceback(error)


def app_traceback(error: BaseException) -> str:
    """The traceback of ``error`` without the frames that lead to the app."""
    trace = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [trace]
    while pending:
        part = pending.pop()
        if part:
            frames = [frame for frame in part.stack if not _leads_to_the_app(frame.filename)]
            part.stack = traceback.StackSummary.from_list(frames)
            pending += [part.__cause__, part.__context__]
    return "".join(trace.format())


def _leads_to_the_app(filename: str) -> bool:
    return (
        filename.startswith(("<frozen ", _OURS[0]))
        or f"{os.sep}gunicorn{os.sep}" in filename
        or filename == runpy.__file__
        or filename.endswith(f"importlib{os.sep}__init__.py")
    )
