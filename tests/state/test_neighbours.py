"""Which other cluster of this user listens where one is to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.config.address import parse_bind, url
from launcher.config.settings import Settings
from launcher.state.home import Home
from launcher.state.neighbours import listens_on


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def running(path: Path) -> Iterator[None]:
    """One that has stopped, one of which nothing is kept, and two that run."""
    with Home.at(str(path)) as home:
        with home.claim("gone") as gone:
            gone.write_app_json(Settings(name="gone", bind=("127.0.0.1:8000",)).to_json())
        with home.claim("bare"), home.claim("web") as web, home.claim("wide") as wide:
            settings = Settings(name="web", bind=("127.0.0.1:5000", "unix:/run/web.sock"))
            web.write_app_json(settings.to_json())
            wide.write_app_json(Settings(name="wide", bind=("0.0.0.0:6000",)).to_json())
            yield


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1:5000", "web"),
        ("0.0.0.0:5000", "web"),
        ("unix:/run/web.sock", "web"),
        ("127.0.0.2:6000", "wide"),
        ("127.0.0.2:5000", None),
        ("127.0.0.1:8000", None),
        ("[::1]:5000", None),
        ("unix:/run/other.sock", None),
        ("127.0.0.1:0", None),
    ],
)
def test_the_one_that_runs_there_is_named(address: str, name: str | None) -> None:
    assert listens_on(parse_bind(address)) == name


@pytest.mark.usefixtures("path")
def test_where_there_is_no_cluster_none_is_in_the_way() -> None:
    assert listens_on(parse_bind("127.0.0.1:5000")) is None


def test_where_the_state_folder_is_not_safe_nothing_is_said_of_it(path: Path) -> None:
    path.symlink_to("/")
    assert listens_on(parse_bind("127.0.0.1:5000")) is None


def test_what_to_type_into_a_browser() -> None:
    assert url("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert url("unix:/run/web.sock") == "unix:/run/web.sock"
