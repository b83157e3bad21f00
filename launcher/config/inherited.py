"""The variables that an app has from the shell its cluster was started in.

Their values are kept nowhere; their names are, so that a start by name or a
``resurrect`` from another shell can say which are missing. Those that belong to
a login session (terminal, desktop, locale, ssh) are not the app's concern.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from launcher.config.settings import Settings
from launcher.errors import LauncherError

__all__ = ["inherited", "listed", "missing", "not_kept", "set_by_files"]

_OF_THE_SESSION = re.compile(
    r"_|HOME|PATH|SHELL|USER|USERNAME|LOGNAME|MAIL|PWD|OLDPWD|SHLVL|HOST|HOSTNAME|HOSTTYPE"
    r"|TERM|COLORTERM|COLUMNS|LINES|LANG|LANGUAGE|TZ|EDITOR|VISUAL|PAGER|MANPAGER|BROWSER"
    r"|DISPLAY|XAUTHORITY|WINDOWID|STY|LS_COLORS|NO_COLOR|PS[0-4]|PROMPT.*|IFS|MOTD_SHOWN"
    r"|HIST(SIZE|FILE|FILESIZE|CONTROL|TIMEFORMAT|IGNORE)|LESS(OPEN|CLOSE|CHARSET)?"
    r"|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|MAINPID|MANAGERPID.*"
    r"|PORT|WEB_CONCURRENCY|VIRTUAL_ENV.*|PYTHON(?!PATH$).*|GUNICORN_CMD_ARGS"
    r"|(LAUNCHER|LISTEN|LC|LESS|BASH|ZSH|FISH|SSH|SUDO|XDG|DBUS|WAYLAND|GTK|QT|GNOME|KDE"
    r"|DESKTOP|SESSION|GDM|GPG|TMUX|VTE|KONSOLE|VSCODE|TERM|ITERM|SYSTEMD|CREDENTIALS|MEMORY"
    r"|CONDA|PYENV|NVM|RBENV|SDKMAN|HOMEBREW|WSL|XMODIFIERS|DEBUGINFOD)(_.*)?"
)
"""Besides them, those that decide settings, which are kept, or how Python runs."""

_PLAINLY_OF_AN_APP = re.compile(
    r".*(URL|URI|DSN|KEY|SECRET|TOKEN|PASSWORD|DATABASE|SETTINGS|CONFIG|_ENV|DEBUG).*"
    r"|(APP|DB|DJANGO|FLASK|MYSQL|PG|REDIS|SENTRY|SMTP)_?.*"
)
MOST = 5


def inherited(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the variables that an app started with these may depend on."""
    return sorted(name for name in environ if not _OF_THE_SESSION.fullmatch(name))


def not_kept(names: Iterable[str], settings: Settings) -> list[str]:
    """Those of them that no file of its user's sets for the app."""
    return sorted(set(names) - set_by_files(settings))


def missing(names: Iterable[str], settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Those of them that the app will not have when it is started with these."""
    return not_kept(set(names) - environ.keys(), settings)


def listed(names: list[str]) -> str:
    """``A, B and 3 more``; first what is most likely an app's, so that it is not cut off."""
    names = sorted(names, key=lambda name: (not _PLAINLY_OF_AN_APP.fullmatch(name), name))
    more = len(names) - MOST
    return f"{', '.join(names[:MOST])} and {more} more" if more > 0 else ", ".join(names)


def set_by_files(settings: Settings) -> set[str]:
    """What ``--env-file`` and ``cluster.toml`` set now; a pool tells what is wrong with them."""
    found: set[str] = set()
    with suppress(LauncherError):
        if settings.config:
            from launcher.config.cluster_toml import environment

            found |= environment(settings.config, settings.name, settings.environment).keys()
    with suppress(OSError, ValueError):
        if settings.env_file:
            from dotenv import dotenv_values

            with open(settings.env_file, encoding="utf-8") as file:
                found |= dotenv_values(stream=file).keys()
    return found
