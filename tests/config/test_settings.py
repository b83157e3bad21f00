"""Settings: what every source may say, which one wins, and the line for each mistake."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from launcher.config.readers import check_name
from launcher.config.resolve import default_name, resolve, resolve_sizing
from launcher.config.settings import OPTIONS, BindAddress, Settings, parse_bind
from launcher.errors import LauncherError, UsageError


def settings(environ: Mapping[str, str] | None = None, /, **flags: object) -> Settings:
    return resolve(flags, environ or {})


def test_without_any_source_the_defaults_apply() -> None:
    found = settings()
    assert (found.app, found.name, found.bind) == ("app:create_app()", "app", ("127.0.0.1:3000",))
    assert (found.workers, found.threads, found.policy) == (None, "4:64", "round-robin")
    assert (found.graceful_timeout, found.boot_timeout, found.queue_timeout) == (30, 60, 30)
    assert (found.keepalive, found.backlog, found.max_restarts) == (75, 2048, 16)
    assert (found.preload, found.access_log, found.gunicorn_config) == (True, False, None)
    assert (found.limit_request_line, found.limit_request_fields) == (8190, 100)
    assert found.limit_request_body == 1 << 30
    assert found.chdir == os.getcwd()
    assert found.sizing.startswith(f"{found.wanted}: ")


def test_an_environment_is_for_apps_of_a_file() -> None:
    with pytest.raises(UsageError, match=r"^--environment is for apps of a cluster\.toml$"):
        settings(environment="live")


@pytest.mark.parametrize("text", ["at four", "0 4 * *", "0 4 * * *; x"])
def test_what_is_no_cron_expression(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no cron expression: write 0 4 \* \* \* for 4:00"):
        settings(reload_at=text)


def test_every_option_is_a_field_or_the_port() -> None:
    names = {field.name for field in fields(Settings)}
    assert {row.name for row in OPTIONS} - {"port"} == names - {
        "sizing",
        "wanted",
        "log_to_files",
        "sources",
    }


def test_flags_win_over_variables_and_those_over_defaults() -> None:
    environ = {"LAUNCHER_THREADS": "7", "LAUNCHER_BACKLOG": "9", "LAUNCHER_KEEPALIVE": ""}
    found = settings(environ, threads="8")
    assert (found.threads, found.backlog, found.keepalive) == (8, 9, 75)


def test_only_the_winner_is_read() -> None:
    assert (
        settings({"LAUNCHER_THREADS": "abc", "PORT": "70000"}, threads="2", port="80").threads == 2
    )


@pytest.mark.parametrize(
    ("environ", "flags", "bind"),
    [
        ({"PORT": "5000"}, {}, ("0.0.0.0:5000",)),
        ({"PORT": ""}, {}, ("127.0.0.1:3000",)),
        ({"PORT": "5000"}, {"port": "8000"}, ("127.0.0.1:8000",)),
        ({"PORT": "5000"}, {"bind": (":80", "fd://3")}, ("0.0.0.0:80", "fd://3")),
        ({"PORT": "5000", "LAUNCHER_PORT": "0"}, {}, ("127.0.0.1:0",)),
        ({"LAUNCHER_BIND": ":1,[::1]:2"}, {}, ("0.0.0.0:1", "[::1]:2")),
        ({"LAUNCHER_BIND": ":1"}, {"port": "8"}, ("127.0.0.1:8",)),
        ({}, {"bind": ("127.0.0.1:0", "127.0.0.1:0")}, ("127.0.0.1:0", "127.0.0.1:0")),
    ],
)
def test_addresses_come_from_the_strongest_source(
    environ: dict[str, str], flags: dict[str, object], bind: tuple[str, ...]
) -> None:
    assert resolve(flags, environ).bind == bind


def test_a_relative_socket_is_in_the_folder_of_the_app(tmp_path: Path) -> None:
    assert settings(bind=("unix:web.sock",), chdir=str(tmp_path)).bind == (
        f"unix:{tmp_path}/web.sock",
    )


@pytest.mark.parametrize(
    ("environ", "flags", "workers", "sizing"),
    [
        ({}, {"workers": "3"}, 3, "3: --workers"),
        ({"LAUNCHER_WORKERS": "4"}, {}, 4, "4: LAUNCHER_WORKERS"),
        ({"WEB_CONCURRENCY": "5"}, {}, 5, "5: WEB_CONCURRENCY"),
        ({"WEB_CONCURRENCY": "5"}, {"workers": "512"}, 512, "512: --workers"),
        ({"WEB_CONCURRENCY": "5", "LAUNCHER_WORKERS": "6"}, {}, 6, "6: LAUNCHER_WORKERS"),
    ],
)
def test_the_number_of_workers_and_why(
    environ: dict[str, str], flags: dict[str, object], workers: int, sizing: str
) -> None:
    found = resolve(flags, environ)
    assert (found.workers, found.wanted, found.sizing) == (workers, workers, sizing)


def test_asking_for_auto_beats_web_concurrency() -> None:
    found = settings({"WEB_CONCURRENCY": "500"}, workers="auto")
    assert found.workers is None
    assert found.wanted != 500


def test_the_sizing_of_an_environment() -> None:
    assert str(resolve_sizing({"WEB_CONCURRENCY": "3"})) == "3: WEB_CONCURRENCY"
    assert resolve_sizing({}).workers >= 1


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("16M", 16 << 20), ("2G", 2 << 30), ("1000", 1000)]
)
def test_the_largest_body(text: str, size: int) -> None:
    assert settings(limit_request_body=text).limit_request_body == size
    assert settings({"LAUNCHER_LIMIT_REQUEST_BODY": text}).limit_request_body == size


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_a_switch_as_a_variable(text: str) -> None:
    assert settings({"LAUNCHER_ACCESS_LOG": text}).access_log
    assert not settings({"LAUNCHER_ACCESS_LOG": text}, access_log=False).access_log


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("myapp:app", "myapp"),
        ("pkg.sub:make('x')", "pkg.sub"),
        ("_private:app", "private"),
        ("größe:app", "gr-e"),
        ("all:app", "all-app"),
        ("a" * 300 + ":app", "a" * 64),
        ("___", "app"),
    ],
)
def test_the_name_defaults_to_the_module(app: str, name: str) -> None:
    assert settings(app=app).name == name
    assert check_name(default_name(app)) == name


Mistake = tuple[dict[str, str], dict[str, object], str]


def flagged(name: str, *texts: str) -> list[Mistake]:
    """The same mistake for each text of one flag."""
    source = "APP" if name == "app" else f"--{name.replace('_', '-')}"
    return [({}, {name: text}, f"{source}: ") for text in texts]


MISTAKES: list[Mistake] = [
    *flagged("workers", "0", "-1", "abc", "513", "1_0", " 1", "", "1.5", "AUTO", "1" * 5000),
    *flagged("workers", "\N{ARABIC-INDIC DIGIT THREE}"),
    *flagged("port", "65536", "-1", "0x50"),
    *flagged("graceful_timeout", "-1", "nan", "inf"),
    *flagged("keepalive", "1e3", "", "86401", "\0", "."),
    *flagged("boot_timeout", "0"),
    *flagged("name", "", "a/b", "..", ".x", "-x", "a\0", "all", "a b", "a\n", "a" * 65, "a" * 300),
    *flagged("name", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"),
    *flagged("app", "", ":app", "app\0:x", "a\nb:c", " app:x", "src/myapp.py", "myapp.py"),
    *flagged("limit_request_line", "8191"),
    *flagged("limit_request_body", "-1", "1T", "10 M", "much"),
    *flagged("policy", "random"),
    ({"WEB_CONCURRENCY": "abc"}, {}, "WEB_CONCURRENCY: "),
    ({"WEB_CONCURRENCY": "auto"}, {}, "WEB_CONCURRENCY: "),
    ({"WEB_CONCURRENCY": "0"}, {}, "WEB_CONCURRENCY: "),
    ({"PORT": "70000"}, {}, "PORT: "),
    ({"PORT": "http"}, {}, "PORT: "),
    ({"LAUNCHER_THREADS": "0"}, {}, "LAUNCHER_THREADS: "),
    ({"LAUNCHER_THREADS": "1025"}, {}, "LAUNCHER_THREADS: "),
    ({"LAUNCHER_PRELOAD": "maybe"}, {}, "LAUNCHER_PRELOAD: "),
    ({"LAUNCHER_BIND": ":1,"}, {}, "LAUNCHER_BIND: "),
    ({}, {"bind": (":80",), "port": "80"}, "--port and --bind: "),
    ({}, {"bind": (":80", "0.0.0.0:80")}, "'0.0.0.0:80' is given more than once"),
    ({}, {"bind": ("unix:" + "s" * 100,), "chdir": "/proc/self"}, "'unix:sss"),
]


@pytest.mark.parametrize(("environ", "flags", "start"), MISTAKES)
def test_a_mistake_is_one_line_that_names_its_source(
    environ: dict[str, str], flags: dict[str, object], start: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(flags, environ)
    message = str(caught.value)
    assert message.startswith(start)
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize("path", ["missing", "file"])
def test_a_folder_that_is_none_is_a_failure_not_a_usage_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LauncherError, match=r"^--chdir: .*director") as caught:
        settings(chdir=str(tmp_path / path))
    assert caught.value.exit_status == 1


def test_the_gunicorn_config_must_be_there_and_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LauncherError, match=r"^--gunicorn-config: 'g\.py': No such file"):
        settings(gunicorn_config="g.py")
    (tmp_path / "g.py").touch()
    assert settings(gunicorn_config="g.py", chdir="/").gunicorn_config == str(tmp_path / "g.py")
    assert settings(gunicorn_config="python:conf").gunicorn_config == "python:conf"


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(LauncherError, match="the current folder is gone"):
        settings()


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("127.0.0.1:3000", BindAddress("tcp4", "127.0.0.1", 3000), "127.0.0.1:3000"),
        ("LocalHost:0", BindAddress("tcp4", "localhost", 0), "localhost:0"),
        (":80", BindAddress("tcp4", "0.0.0.0", 80), "0.0.0.0:80"),
        ("3000", BindAddress("tcp4", "127.0.0.1", 3000), "127.0.0.1:3000"),
        ("[::]:80", BindAddress("tcp6", "::", 80), "[::]:80"),
        ("[0:0::1]:65535", BindAddress("tcp6", "::1", 65535), "[::1]:65535"),
        ("[fe80::1%eth0]:1", BindAddress("tcp6", "fe80::1%eth0", 1), "[fe80::1%eth0]:1"),
        ("unix:/run/web.sock", BindAddress("unix", path="/run/web.sock"), "unix:/run/web.sock"),
        ("unix:///run/a:b", BindAddress("unix", path="/run/a:b"), "unix:/run/a:b"),
        ("fd://3", BindAddress("fd", fd=3), "fd://3"),
    ],
)
def test_the_forms_of_an_address(text: str, address: BindAddress, canonical: str) -> None:
    assert parse_bind(text) == address
    assert str(address) == canonical
    assert parse_bind(canonical) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("[::1]", "has no port"),
        ("[::1", "has no port"),
        ("[::1]3000", "has no port"),
        ("[x]:1", "has no IPv6 address"),
        ("::1:3000", "put it in brackets"),
        ("a:b:1", "put it in brackets"),
        ("host:", "has a port that is not a whole number from 0 to 65535"),
        ("host:http", "has a port that"),
        ("host:65536", "has a port that"),
        ("host:-1", "has a port that"),
        ("70000", "has a port that"),
        ("256.1.1.1:80", "has no valid IPv4 address"),
        ("1.2.3:80", "has no valid IPv4 address"),
        ("ho st:80", "has no valid host"),
        ("http://host:80", "put it in brackets"),
        ("*:80", "has no valid host"),
        ("unix:", "names no path"),
        ("unix:a\0b", "names no path"),
        ("unix:" + "x" * 108, "is too long"),
        ("fd://", "names no descriptor"),
        ("fd://-1", "names no descriptor"),
    ],
)
def test_what_is_no_address(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_bind(text)


@pytest.mark.parametrize(
    ("text", "value", "bounds"),
    [
        ("8", 8, (8, 8)),
        ("4:64", "4:64", (4, 64)),
        ("08:0016", "8:16", (8, 16)),
        ("3:3", 3, (3, 3)),
        ("1:1024", "1:1024", (1, 1024)),
    ],
)
def test_threads(text: str, value: int | str, bounds: tuple[int, int]) -> None:
    found = settings(threads=text)
    assert found.threads == value
    assert (found.threads_min, found.threads_max) == bounds
    assert Settings.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "'0' is not a whole number from 1 to 1024"),
        ("8:4", "'8:4' has a MIN above its MAX: write 4:8"),
        ("4:1025", "'4:1025' is no MIN:MAX of threads"),
        ("4:", "'4:' is no MIN:MAX of threads"),
        (":4", "':4' is no MIN:MAX of threads"),
        ("1:2:3", "'1:2:3' is no MIN:MAX of threads"),
        ("-1:4", "'-1:4' is no MIN:MAX of threads"),
    ],
)
def test_what_is_no_number_of_threads(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        settings(threads=text)


def test_settings_survive_json() -> None:
    before = settings(workers="3", keepalive="2.5", bind=(":80", "fd://3"), preload=False)
    assert Settings.from_json(json.loads(json.dumps(before.to_json()))) == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threads": "4:2"}, "threads"),
        ({"threads": "four"}, "threads"),
        ({"threads": True}, "threads"),
        ({"bind": "x"}, "bind"),
        ({"bind": [1]}, "bind"),
        ({"workers": 1.5}, "workers"),
        ({"preload": 1}, "preload"),
    ],
)
def test_what_is_no_settings_object(change: dict[str, object], problem: str) -> None:
    with pytest.raises(LauncherError, match=problem):
        Settings.from_json(Settings().to_json() | change)


def test_settings_of_a_cluster_without_workers_are_damaged() -> None:
    with pytest.raises(LauncherError, match=r"^settings with a wrong value for 'wanted'$"):
        Settings.from_json(Settings(chdir="/").to_json() | {"wanted": 0})


def test_a_file_may_be_beside_the_app(tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("A=b\n")
    found = settings(chdir=str(tmp_path), env_file="variables")
    assert found.env_file == str(tmp_path / "variables")
    with pytest.raises(
        LauncherError, match=rf"'none' is neither in {os.getcwd()} nor in {tmp_path}$"
    ):
        settings(chdir=str(tmp_path), env_file="none")
