"""The app and gunicorn's configuration, as the pool loads them."""

from __future__ import annotations

import inspect
import math
import os
import sys
from typing import Any

from gunicorn import SERVER_SOFTWARE
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.errors import AppImportError

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.ipc.boot import Boot
from launcher.pool.loading.finding import find_app
from launcher.pool.loading.gunicorn_config import configure
from launcher.pool.loading.load_error import LoadError, app_traceback
from launcher.pool.loading.patched import patched_by
from launcher.pool.loading.temporary import provide
from launcher.pool.logger import Logger


class Application(BaseApplication):
    """gunicorn's view of the app: the configuration and the callable.

    ``notices`` gets lines about settings of gunicorn's that have no effect, also
    when the configuration cannot be loaded: they may tell why.
    """

    cfg: Config

    def __init__(self, boot: Boot, notices: list[str]) -> None:
        self.boot = boot
        self._notices = notices
        super().__init__(prog="launcher")

    def do_load_config(self) -> None:
        """Overridden: gunicorn's prints and exits; here the primary is told."""
        self.cfg = Config(prog=self.prog)
        self.load_config()

    def load_config(self) -> None:
        """gunicorn's defaults < its file < its variable < what the launcher sets."""
        settings = self.boot.settings
        _enter(settings.chdir)
        if settings.env_file:
            os.environ.update(_read_env_file(settings.env_file))
        if settings.config:
            os.environ.update(_read_config(settings.config, settings))
        self._notices += provide()
        ours = _ours(settings, self.boot.addresses)
        told = "app" in settings.sources
        self._notices += configure(self.cfg, settings.gunicorn_config, ours, told)
        for key, value in ours.items():
            self.cfg.set(key, value)
        _require_folder("worker_tmp_dir", self.cfg.worker_tmp_dir)
        os.environ.update(self._variables())
        folders = (self.cfg.pythonpath or "").split(",")
        sys.path[:0] = [os.path.abspath(folder) for folder in folders if folder]

    def _variables(self) -> dict[str, str]:
        """The variables that gunicorn's arbiter sets before the app is loaded."""
        try:
            return {"SERVER_SOFTWARE": SERVER_SOFTWARE, **self.cfg.env}
        except RuntimeError as error:
            raise LoadError(f"raw_env in gunicorn's configuration: {error}") from None

    def set_up_log(self) -> None:
        """Have gunicorn's loggers ready before the app is loaded, as apps expect of gunicorn.

        Apps copy handlers and level of ``gunicorn.error``. The arbiter sets them up again. Raises
        LoadError.
        """
        try:
            Logger(self.cfg)
        except Exception as error:
            raise LoadError.over("gunicorn's log cannot be set up", error) from None

    def load(self) -> Any:
        """Import the app and return its WSGI callable. Raises LoadError."""
        name = self.boot.settings.app
        try:
            app = find_app(name)
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
            raise LoadError.over(f"cannot load {name!r}", error) from None
        self.refuse_if_patched()
        return _wsgi_app(name, app)

    def refuse_if_patched(self) -> None:
        """Raises LoadError when the app, or a hook, has had the standard library patched."""
        library = patched_by()
        if library:
            raise LoadError(
                f"cannot serve {self.boot.settings.app!r}: {library} has patched the standard"
                " library, and apps run in threads here: leave the monkey-patching out"
            )


def _wsgi_app(name: str, app: Any) -> Any:
    """``app``. Raises LoadError when it plainly cannot be called as PEP 3333 says."""
    if any(map(inspect.iscoroutinefunction, (app, type(app).__call__))):
        raise LoadError(f"cannot load {name!r}: it is an ASGI app, and this serves WSGI apps")
    try:
        takes = inspect.signature(app)
    except (TypeError, ValueError):  # a callable of an extension module
        return app
    try:
        takes.bind({}, print)
    except TypeError:
        raise LoadError(
            f"cannot load {name!r}: it does not take (environ, start_response);"
            f" if it makes the app, write '{name}()'"
        ) from None
    return app


def _read_config(path: str, settings: Settings) -> dict[str, str]:
    """The variables that cluster.toml sets for this app now. They win over the others."""
    from launcher.config.cluster_toml import environment

    try:
        return environment(path, settings.name, settings.environment)
    except LauncherError as error:
        raise LoadError(f"cannot read the environment: {error}") from None


def _read_env_file(path: str) -> dict[str, str]:
    """The variables that a file sets. They win over those the launcher was started with."""
    from dotenv import dotenv_values  # imported only where there is such a file

    try:
        with open(
            path, encoding="utf-8"
        ) as file:  # dotenv takes a file that is not there for an empty one
            values = dotenv_values(stream=file)
    except (OSError, ValueError) as error:
        raise LoadError(f"cannot read the environment in {path}: {error}") from None
    return {key: value for key, value in values.items() if value is not None}


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise LoadError(f"cannot enter {folder}: {error.strerror}") from None


def _require_folder(key: str, folder: str | None) -> None:
    if folder and not os.path.isdir(folder):
        raise LoadError(f"{key} = {folder!r} in gunicorn's configuration: there is no such folder")


def _ours(settings: Settings, addresses: list[str]) -> dict[str, Any]:
    """What the launcher decides, as gunicorn's settings, for its hooks and the app to see."""
    values: dict[str, Any] = {
        "worker_class": "launcher.worker.process.Worker",
        "logger_class": Logger,
        # gunicorn's control socket is one for each user: a second instance steals it.
        "control_socket_disable": True,
        # gunicorn's own parser waits for what is missing; the one in C does not.
        "http_parser": "python",
        "bind": addresses,
        "backlog": settings.backlog,
        "workers": settings.wanted,
        "threads": settings.threads_max,
        "max_requests": settings.max_requests,
        "timeout": _whole_seconds(settings.timeout),
        "graceful_timeout": _whole_seconds(settings.graceful_timeout),
        "keepalive": _whole_seconds(settings.keepalive),
        "preload_app": settings.preload,
        "proc_name": settings.name,
        "limit_request_line": settings.limit_request_line,
        "limit_request_fields": settings.limit_request_fields,
        "limit_request_field_size": settings.limit_request_field_size,
        "chdir": settings.chdir,
    }
    if settings.log_to_files:
        values["capture_output"] = False  # our files have what is printed
    if settings.access_log:
        values["accesslog"] = "-"
    return values


def _whole_seconds(seconds: float) -> int:
    """Seconds as gunicorn has them: whole; 0 keeps its meaning."""
    return math.ceil(seconds)


def _module_not_found(name: str, folder: str, error: ModuleNotFoundError) -> tuple[str, str]:
    module = name.split(":")[0]
    if error.name and (module == error.name or module.startswith(f"{error.name}.")):
        return f"cannot load {name!r}: there is no module {error.name!r} in {folder}", ""
    return f"cannot load {name!r}: {error}", app_traceback(error)
