"""Paths that are good after the symlink to a release has been switched."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.readers import read_file, read_folder
from launcher.folders import absolute, current_folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a release, its parts, and the symlink that leads to it."""
    shop = tmp_path / "shop"
    (shop / "releases" / "7" / "web").mkdir(parents=True)
    (shop / "shared").mkdir()
    for place in ("releases/7/web/here.env", "shared/all.env"):
        (shop / place).touch()
    (shop / "current").symlink_to("releases/7")
    return shop


@pytest.mark.parametrize("environ", [{}, {"PWD": "/"}, {"PWD": "current"}, {"PWD": "/none"}])
@pytest.mark.parametrize("place", ["", "web"])
def test_where_nobody_tells_the_symlink_called_current_is_found(
    shop: Path, place: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop / "current" / place)
    assert current_folder(environ) == str(shop / "current" / place)


def test_it_may_be_above_or_beside_what_it_leads_to(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "current").unlink()
    (shop / "releases" / "current").symlink_to(shop / "releases" / "7")
    monkeypatch.chdir(shop / "releases" / "7" / "web")
    assert current_folder({}) == str(shop / "releases" / "current" / "web")


def test_a_folder_that_was_entered_by_another_name_keeps_it(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop / "current")
    release = str(shop / "releases" / "7")
    assert current_folder({"PWD": release}) == release


@pytest.mark.parametrize(
    ("leads_to", "name"),
    [
        ("releases", "current/8"),
        ("releases/7", "releases/8"),
        ("nowhere", "releases/8"),
        ("current", "releases/8"),
    ],
)
def test_a_symlink_that_leads_elsewhere_means_nothing(
    shop: Path, leads_to: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "releases" / "8").mkdir()
    monkeypatch.chdir(shop / "releases" / "8")
    (shop / "current").unlink()
    (shop / "current").symlink_to(leads_to)
    assert current_folder({}) == str(shop / name)


def test_the_root_is_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert current_folder({}) == "/"


def test_relative_paths_follow_the_release_unless_they_lead_out_of_it(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop / "current")
    monkeypatch.setenv("PWD", str(shop / "current"))
    assert read_file("web/here.env") == str(shop / "current" / "web" / "here.env")
    assert read_folder("web") == str(shop / "current" / "web")
    assert read_file("../../shared/all.env") == str(shop / "shared" / "all.env")
    assert absolute("web/none") == str(shop / "releases" / "7" / "web" / "none")
    assert absolute("/a/../b") == "/b"
