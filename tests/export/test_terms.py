"""The options that an export writes make the settings again; patience follows the timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.config.option import Option
from launcher.config.settings import OPTIONS, OPTIONS_BY_NAME, Settings
from launcher.errors import LauncherError
from launcher.export.terms import File
from tests.export.tools import ODD_APP, ODD_FOLDER, cluster, settings_of

SAMPLES = {
    "bind": ("127.0.0.1:8001", "unix:/run/a b.sock"),
    "threads": "2:9",
    "policy": "sticky",
    "health_path": "/ready?a=%20&b",
    "max_memory": "300M",
    "log_max_size": "64K",
    "watch_ignore": ("*.html", "a b/**"),
    "log_format": "json",
    "unix_socket_mode": "660",
    "unix_socket_owner": ":0",
    "gunicorn_config": "python:conf",
    "status_bind": "unix:/run/a b.sock",
    "reload_at": "0 4 * * *",
}


def candidates(row: Option) -> Iterator[Any]:
    """Values that might be other ones than the default."""
    if row.name in SAMPLES:
        yield SAMPLES[row.name]
    elif row.switch:
        yield not row.default
    else:
        yield from ("17", "17.25", "127.0.0.1:9000")


def sample(row: Option) -> Any:
    """One that is read, or None where the file system would have to agree."""
    for value in candidates(row):
        try:
            for text in value if isinstance(value, tuple) else (value,):
                row.read(str(text))
        except (ValueError, OSError):
            continue
        return value
    return None


CHANGED = {row.name: sample(row) for row in OPTIONS if sample(row) is not None}
del CHANGED["app"], CHANGED["port"], CHANGED["name"], CHANGED["environment"]


def test_nearly_every_option_is_tried() -> None:
    untried = [row.name for row in OPTIONS if row.name not in CHANGED and not row.path]
    assert len(untried) < 6, untried


def test_an_option_is_written_as_it_is_read(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name, value in CHANGED.items():
        with subtests.test(name):
            subject = cluster(tmp_path, **{name: value})
            assert OPTIONS_BY_NAME[name].flag in " ".join(subject.flags()).replace("--no-", "--")
            assert settings_of(["shop:app", "--name", "shop", *subject.flags()]) == subject.settings


def test_all_of_them_at_once(tmp_path: Path) -> None:
    folder = tmp_path / ODD_FOLDER
    folder.mkdir()
    (folder / "a b.env").write_text("")
    subject = cluster(folder, app=ODD_APP, env_file=str(folder / "a b.env"), **CHANGED)
    again = settings_of([ODD_APP, "--name", "shop", *subject.flags()])
    assert again == subject.settings


def test_what_a_start_has_kept_without_its_sources_is_written_too(tmp_path: Path) -> None:
    kept = cluster(tmp_path, **CHANGED).settings.to_json() | {"sources": {}}
    subject = cluster(tmp_path)
    settings = Settings.from_json(kept)
    object.__setattr__(subject, "settings", settings)
    again = settings_of(["shop:app", "--chdir", str(tmp_path), "--name", "shop", *subject.flags()])
    assert again.values() | {"sources": {}, "sizing": ""} == kept | settings.values() | {
        "sources": {},
        "sizing": "",
    }


def test_patience_follows_the_timeouts(tmp_path: Path) -> None:
    subject = cluster(tmp_path, graceful_timeout="12.5", timeout="40", queue_timeout="7", drain="8")
    assert subject.stop_within == 26  # 8 + 12.5 + 5, and then whole
    assert subject.answer_within == 52
    assert cluster(tmp_path, timeout="0").answer_within == 86_400


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "fd://3", "unix:/run/shop.sock"])
def test_an_address_without_a_port_that_is_known_has_none(tmp_path: Path, bind: str) -> None:
    with pytest.raises(LauncherError, match="--bind"):
        cluster(tmp_path, bind=(bind,)).ports()


def test_a_status_address_has_to_have_a_port(tmp_path: Path) -> None:
    for status in (None, "unix:/run/status.sock", "127.0.0.1:0"):
        with pytest.raises(LauncherError, match=r"status_bind \(--status-bind\)"):
            cluster(tmp_path, status_bind=status).status_address()


def test_a_stamp_tells_the_version_and_edits() -> None:
    text = File("shop.service", "[Unit]\n").stamped("systemd")
    first, rest = text.split("\n", 1)
    assert first.startswith("# shop.service: launcher ")
    assert rest == "[Unit]\n"
    assert not File.edited(text)
    assert File.edited(text + "more\n")
    assert File.edited("")
