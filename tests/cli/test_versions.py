"""What one version keeps is read by the next, and by the one before where that can be."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any

import pytest

from launcher.config.resolve import resolve
from launcher.config.settings import Settings
from launcher.config.versions import FIRST, filled, is_wish
from launcher.errors import LauncherError
from tests.cli.tools import Console

WRITTEN: dict[str, Any] = {
    "app": "web:app",
    "bind": ["127.0.0.1:0"],
    "workers": 1,
    "threads": 4,
    "name": "web",
    "policy": "round-robin",
    "graceful_timeout": 30.0,
    "boot_timeout": 60.0,
    "queue_timeout": 30.0,
    "keepalive": 5.0,
    "backlog": 2048,
    "max_restarts": 16,
    "preload": True,
    "chdir": "/srv/web",
    "gunicorn_config": None,
    "rerun": True,
    "timeout": 30.0,
    "health_path": None,
    "max_requests": 0,
    "max_memory": 0,
    "max_lifetime": 0.0,
    "env_file": None,
    "watch": False,
    "config": None,
    "access_log": False,
    "log_format": "text",
    "log_max_size": 10485760,
    "log_keep": 5,
    "limit_request_line": 8190,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
    "sizing": "1: --workers",
    "wanted": 1,
    "log_to_files": True,
    "sources": {
        "app": "APP",
        "workers": "--workers",
        "keepalive": "--keepalive",
        "bind": "--port",
    },
}
"""An app.json as the first version wrote it."""


def first_version_reads(data: dict[str, Any]) -> bool:
    """Its rule: exactly its keys, and values of its types."""
    if data.keys() != WRITTEN.keys():
        return False
    kinds = {name: {type(value)} for name, value in WRITTEN.items()}
    kinds["workers"] = {int, NoneType}
    for name in ("gunicorn_config", "health_path", "env_file", "config"):
        kinds[name] = {str, NoneType}
    return all(type(value) in kinds[name] for name, value in data.items())


def test_what_the_first_version_wrote_is_read() -> None:
    found = Settings.from_json(WRITTEN)
    assert (found.app, found.bind, found.workers) == ("web:app", ("127.0.0.1:0",), 1)
    assert (found.keepalive, found.chdir, found.log_to_files) == (5.0, "/srv/web", True)
    assert found.sources == WRITTEN["sources"]


def test_a_value_that_nobody_named_is_the_default_of_this_version() -> None:
    unnamed = Settings.from_json(WRITTEN)
    assert unnamed.threads == Settings().threads
    named = WRITTEN | {"sources": WRITTEN["sources"] | {"threads": "--threads"}}
    assert Settings.from_json(named).threads == resolve({"threads": "4"}, {}).threads
    assert not is_wish("threads", 4, {})
    assert is_wish("threads", 8, {})
    assert is_wish("threads", 4, {"threads": "cluster.toml"})


def test_the_first_version_reads_what_uses_nothing_new() -> None:
    settings = resolve({"app": "web:app", "keepalive": "5", "chdir": "/"}, {})
    assert first_version_reads(json.loads(json.dumps(settings.to_json())))
    assert first_version_reads(Settings.from_json(WRITTEN).to_json())


def test_a_new_option_is_left_out_at_its_default_and_a_new_default_is_no_wish() -> None:
    defaults = dict(FIRST) | {"threads": [4, 64], "shiny": 1}
    settings = dict(WRITTEN) | {"threads": [4, 64], "shiny": 1}
    assert filled(settings, defaults) == WRITTEN
    assert filled(settings | {"shiny": 2}, defaults)["shiny"] == 2
    assert filled(settings | {"threads": [8, 8]}, defaults)["threads"] == [8, 8]
    wish = settings | {"sources": {"threads": "--threads", "shiny": "--shiny"}}
    assert filled(wish, defaults)["threads"] == [4, 64]
    assert filled(wish, defaults)["shiny"] == 1


def test_nothing_is_lost_on_the_way() -> None:
    for settings in (Settings(threads=9, watch=True, name="x"), resolve({"threads": "4"}, {})):
        there_and_back = Settings.from_json(json.loads(json.dumps(settings.to_json())))
        assert there_and_back == settings
        assert there_and_back.sources == settings.sources


@pytest.mark.parametrize("name", sorted(FIRST.keys() - {"app", "name", "chdir", "wanted"}))
def test_a_missing_key_takes_its_default(name: str) -> None:
    rest = {key: value for key, value in WRITTEN.items() if key != name}
    assert getattr(Settings.from_json(rest), name) == getattr(Settings(), name)


@pytest.mark.parametrize("name", ["app", "name", "chdir", "wanted"])
def test_without_these_it_would_be_another_cluster(name: str) -> None:
    rest = {key: value for key, value in WRITTEN.items() if key != name}
    with pytest.raises(LauncherError, match=f"settings without '{name}'"):
        Settings.from_json(rest)


def test_unknown_keys_are_told_apart() -> None:
    assert Settings.unknown_in(WRITTEN) == []
    assert Settings.unknown_in(WRITTEN | {"surprise": 1, "a": None}) == ["a", "surprise"]


def test_entries_and_saved_sets_of_other_versions_are_started(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", "-p", "0", "--keepalive", "5")
    console.ok("save")
    console.ok("stop", "web")
    entry, saved = console.home / "web" / "app.json", console.home / ".saved.json"
    old = WRITTEN | {"chdir": str(console.folder)}
    entry.write_text(json.dumps(old))
    started = console("start", "web")
    assert (started.returncode, started.stderr) == (0, "")
    assert first_version_reads(json.loads(entry.read_text()))
    console.ok("stop", "web")
    entry.write_text(json.dumps(old | {"surprise": 1}))
    started = console("start", "web")
    told = f"launcher: {entry}: this version does not know 'surprise': left out\n"
    assert (started.returncode, started.stderr) == (0, told)
    console.ok("delete", "web")
    saved.write_text(json.dumps({"version": 1, "clusters": [old | {"surprise": 1}]}))
    done = console("resurrect")
    told = "launcher: web: this version does not know 'surprise': left out\n"
    assert (done.returncode, done.stderr) == (0, told)
    settings = json.loads(console.ok("describe", "web", "--json"))["configuration"]
    assert settings["keepalive"] == {"value": 5.0, "source": "--keepalive"}
