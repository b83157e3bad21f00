"""Every setting of gunicorn's: honoured, refused or named. None is silent."""

# mypy: disallow-untyped-calls=false

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

from launcher.config.settings import OPTIONS_BY_NAME, Settings
from launcher.pool.loading.application import _ours
from launcher.pool.loading.gunicorn_config import HONOURED, NOT_USED, OPTION, REFUSED, configure
from launcher.pool.loading.load_error import LoadError
from tests.pool.tools import ended, last_line
from tests.support import APPS, ROOT, StartCluster

OURS = _ours(Settings(), ["127.0.0.1:3000"])

NAMES = sorted(setting.name for setting in KNOWN_SETTINGS)

TABLES = {"honoured": HONOURED, "option": OPTION, "not used": NOT_USED, "refused": REFUSED}

SAMPLES: dict[str, Any] = {
    "bind": "127.0.0.1:1",
    "cert_reqs": 1,
    "certfile": __file__,
    "dirty_apps": ["jobs:app"],
    "forwarded_allow_ips": "10.0.0.0/8",
    "forwarder_headers": "X_USER",
    "group": 65534,
    "header_map": "refuse",
    "http_protocols": "h2",
    "keyfile": __file__,
    "ca_certs": __file__,
    "logconfig_dict": {"version": 1},
    "loglevel": "debug",
    "protocol": "uwsgi",
    "proxy_allow_ips": "10.0.0.0/8",
    "proxy_protocol": "auto",
    "secure_scheme_headers": {"X-SCHEME": "https"},
    "sendfile": False,
    "syslog_facility": "local1",
    "user": 65534,
}
"""Values that are not gunicorn's default, where the type of that is no help."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    return tmp_path


def settings_of_the_document() -> Iterator[tuple[str, str, str]]:
    """Name, fate and remark of each setting in the table of ``docs/gunicorn.md``."""
    text = (ROOT / "docs" / "gunicorn.md").read_text()
    for names, fate, remark in re.findall(
        r"^\| (`.*?`) \| (.*?) \| ?(.*?) ?\|$", text, re.MULTILINE
    ):
        if fate in TABLES:
            for name in re.findall(r"`(.+?)`", names):
                yield name, fate, remark


def sample(name: str) -> Any:
    """A value for a setting, another than its default."""
    if name in SAMPLES:
        return SAMPLES[name]
    default = Config().settings[name].get()
    if callable(default):
        arity = default.__code__.co_argcount
        return eval(f"lambda {', '.join('abcd'[:arity])}: None")
    kinds: dict[type, Any] = {bool: not default, int: 7, list: ["7"]}
    return kinds.get(type(default), "sample")


def test_each_has_its_place_in_exactly_one_table() -> None:
    assert sorted(name for table in TABLES.values() for name in table) == NAMES
    assert set(OPTION.values()) <= OPTIONS_BY_NAME.keys()


def test_the_document_says_the_same() -> None:
    rows = list(settings_of_the_document())
    assert sorted(name for name, _, _ in rows) == NAMES
    for name, fate, remark in rows:
        assert name in TABLES[fate]
        if fate == "option":
            assert f"`{OPTIONS_BY_NAME[OPTION[name]].flag}`" in remark


def test_the_document_says_of_each_hook_when_it_runs() -> None:
    text = (ROOT / "docs" / "gunicorn.md").read_text()
    hooks = {name for name in HONOURED if callable(Config().settings[name].get())}
    assert set(re.findall(r"`(\w+)\([\w, ]+\)`", text)) == hooks


def test_none_is_silent(folder: Path, subtests: pytest.Subtests) -> None:
    """Set to something else, it is set, or refused by name, or named."""
    for name in NAMES:
        with subtests.test(name):
            is_not_silent(folder / "settings.py", name)


def is_not_silent(path: Path, name: str) -> None:
    path.write_text(f"import tests.pool.test_gunicorn_config as t\n{name} = t.sample({name!r})\n")
    cfg, default = Config(), Config().settings[name].get()
    if name in REFUSED:
        with pytest.raises(LoadError, match=rf"^{path}: {name} = .*: {REFUSED[name]}$"):
            configure(cfg, str(path), OURS)
        return
    notices = configure(cfg, str(path), OURS)
    value = cfg.settings[name].get()
    if name in HONOURED:
        assert not notices
        assert value != default
        return
    option = OPTION.get(name)
    shown = f"{name} (see {OPTIONS_BY_NAME[option].flag})" if option else name
    assert notices == [f"{path}: not used here: {shown}"]
    assert callable(value) or value == default


def test_what_an_option_takes_the_place_of_is_named(folder: Path) -> None:
    path = folder / "settings.py"
    path.write_text("accesslog = 'a.log'\ncapture_output = True\n")
    ours = _ours(Settings(access_log=True, log_to_files=True), [])
    notices = configure(Config(), str(path), ours)
    assert notices == [f"{path}: not used here: accesslog, capture_output"]


def test_what_the_launcher_decides_is_what_hooks_and_apps_read() -> None:
    settings = Settings(timeout=1.5, keepalive=0, max_requests=9, backlog=7, graceful_timeout=3)
    ours = _ours(settings, ["127.0.0.1:3000"])
    read = {key: ours[key] for key in ("timeout", "keepalive", "max_requests", "backlog")}
    assert read == {"timeout": 2, "keepalive": 0, "max_requests": 9, "backlog": 7}
    assert ours["graceful_timeout"] == 3


# The variable


def given(
    monkeypatch: pytest.MonkeyPatch, text: str, path: str | None = None
) -> tuple[Config, Any]:
    """What comes of GUNICORN_CMD_ARGS: the configuration and the notices."""
    monkeypatch.setenv("GUNICORN_CMD_ARGS", text)
    cfg = Config()
    return cfg, configure(cfg, path, OURS)


def test_the_variable_is_read_and_wins_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "settings.py"
    path.write_text("loglevel = 'error'\nraw_env = ['A=1']\n")
    text = "--log-level debug --forwarded-allow-ips=* --bind :1 --workers 3 other:app"
    cfg, notices = given(monkeypatch, text, str(path))
    assert (cfg.loglevel, cfg.raw_env, cfg.forwarded_allow_ips) == ("debug", ["A=1"], ["*"])
    named = "bind (see --bind), workers (see --workers), wsgi_app (see APP)"
    assert notices == [f"GUNICORN_CMD_ARGS: not used here: {named}"]


def test_the_variable_may_name_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "one.py").write_text("loglevel = 'error'\n")
    (folder / "two.py").write_text("loglevel = 'debug'\n")
    cfg, notices = given(monkeypatch, "-c one.py")
    assert (cfg.loglevel, notices) == ("error", [])
    cfg, notices = given(monkeypatch, "-c one.py", "two.py")
    assert cfg.loglevel == "debug"
    assert notices == ["GUNICORN_CMD_ARGS: not used here: config (see --gunicorn-config)"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("--nosuch", "GUNICORN_CMD_ARGS: '--nosuch': unrecognized arguments: --nosuch"),
        ("--log-level", "argument --log-level: expected one argument"),
        ("--workers x", "argument -w/--workers: invalid int value: 'x'"),
        ("--log-level '", "GUNICORN_CMD_ARGS: No closing quotation"),
        ("--protocol uwsgi", "GUNICORN_CMD_ARGS: protocol = 'uwsgi': the launcher speaks HTTP"),
    ],
)
def test_a_mistake_in_the_variable_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    with pytest.raises(LoadError) as caught:
        given(monkeypatch, text)
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason


@pytest.mark.parametrize(("text", "ips"), [("10.0.0.0/8,::1", ["10.0.0.0/8", "::1"]), ("", [])])
def test_a_default_of_a_variable_is_what_the_apps_variables_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, ips: list[str]
) -> None:
    """They may come from ``--env-file``, so later than gunicorn is imported."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", text)
    cfg = Config()
    assert configure(cfg, None, OURS) == []
    assert cfg.forwarded_allow_ips == ips
    (folder / "settings.py").write_text("forwarded_allow_ips = '*'\n")
    configure(cfg, "settings.py", OURS)
    assert cfg.forwarded_allow_ips == ["*"]


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_wrong_one_is_told(tmp_path: Path, source: str) -> None:
    (tmp_path / "variables").write_text("FORWARDED_ALLOW_IPS=proxy\n")
    options = ("--env-file", str(tmp_path / "variables")) if source == "file" else ()
    variables = {} if source == "file" else {"FORWARDED_ALLOW_IPS": "proxy"}
    home = str(tmp_path / "home")
    run = ended(APPS, "run", "echo:app", "-p", "0", *options, LAUNCHER_HOME=home, **variables)
    assert last_line(run).startswith(
        "launcher: FORWARDED_ALLOW_IPS: forwarded_allow_ips = 'proxy': 'proxy' does not appear"
    )


# The file that gunicorn finds by itself


def test_a_file_in_the_apps_folder_is_said_not_to_be_read(folder: Path) -> None:
    file = folder / "gunicorn.conf.py"
    file.write_text("loglevel = 'debug'\n")
    cfg = Config()
    assert configure(cfg, None, OURS) == [f"{file} is not read without --gunicorn-config {file}"]
    assert cfg.loglevel == "info"
    assert configure(cfg, str(file), OURS) == []
    assert cfg.loglevel == "debug"


# A whole cluster


def test_notices_come_also_when_the_app_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("worker_class = 'gevent'\n")
    config = ("--gunicorn-config", "gunicorn.conf.py")
    run = ended(tmp_path, "run", "nosuch:app", "--port", "0", *config)
    assert last_line(run).startswith("launcher: cannot load 'nosuch:app'")
    assert f"{tmp_path}/gunicorn.conf.py: not used here: worker_class\n" in run.stderr


def test_an_app_that_only_the_file_names_is_not_replaced_by_the_default(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("wsgi_app = 'echo:app'\n")
    run = ended(tmp_path, "run", "--port", "0", "--gunicorn-config", "gunicorn.conf.py")
    file = f"{tmp_path}/gunicorn.conf.py"
    reason = "wsgi_app = 'echo:app': the app is an argument, APP, here"
    assert last_line(run) == f"launcher: {file}: {reason}"


def test_a_variable_of_the_environment_is_honoured(start_cluster: StartCluster) -> None:
    args = "--log-level debug --worker-connections 5"
    cluster = start_cluster("echo:app", "-w", "1", folder=APPS, GUNICORN_CMD_ARGS=args).ready()
    assert "GUNICORN_CMD_ARGS: not used here: worker_connections\n" in cluster.log
    assert "Current configuration:" in cluster.log  # gunicorn's, at this level
