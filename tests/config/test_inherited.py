"""Which variables of a shell an app may depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config.inherited import inherited, listed, missing, not_kept
from launcher.config.settings import Settings

SESSION = [
    "_",
    "HOME",
    "PATH",
    "SHELL",
    "USER",
    "LOGNAME",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "HOSTNAME",
    "TERM",
    "COLORTERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LS_COLORS",
    "LESSOPEN",
    "LESS",
    "HISTSIZE",
    "SSH_CLIENT",
    "SSH_TTY",
    "SSH_AUTH_SOCK",
    "SUDO_USER",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "TMUX",
    "TMUX_PANE",
    "TERM_PROGRAM",
    "VSCODE_PID",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "PYTHONUNBUFFERED",
    "CONDA_PREFIX",
    "PYENV_ROOT",
    "NVM_DIR",
    "LAUNCHER_WORKERS",
    "LAUNCHER_HOME",
    "PORT",
    "WEB_CONCURRENCY",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "INVOCATION_ID",
]
OF_AN_APP = [
    "AWS_REGION",
    "DATABASE_URL",
    "DEBUG",
    "FLASK_ENV",
    "HOMEPAGE",
    "PATHS",
    "PYTHONPATH",
    "SECRET_KEY",
]


def test_what_belongs_to_the_session_is_not_the_apps() -> None:
    environ = dict.fromkeys([*SESSION, *OF_AN_APP], "x")
    assert inherited(environ) == OF_AN_APP


def test_what_a_file_sets_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text('[apps.x.env]\nC = "1"\n')
    (tmp_path / "env").write_text("B=1\nexport D='2'\n")
    files = replace(
        Settings(name="x"), config=str(tmp_path / "cluster.toml"), env_file=str(tmp_path / "env")
    )
    names = ["D", "C", "B", "A"]
    assert not_kept(names, files) == ["A"]
    assert missing(names, files, {"A": ""}) == []
    assert missing(names, Settings(), {"C": "1"}) == ["A", "B", "D"]


@pytest.mark.parametrize("text", [None, "not = toml ["])
def test_files_that_cannot_be_read_are_for_the_pool_to_tell(
    tmp_path: Path, text: str | None
) -> None:
    if text:
        (tmp_path / "file").write_text(text)
    path = str(tmp_path / "file")
    assert not_kept(["A"], replace(Settings(), config=path, env_file=f"{path}.env")) == ["A"]


def test_a_long_list_is_cut() -> None:
    assert listed(["A", "B"]) == "A, B"
    assert listed(list("ABCDEFG")) == "A, B, C, D, E and 2 more"
    assert listed([*"ABCDEFG", "X_SECRET"]) == "X_SECRET, A, B, C, D and 3 more"
