"""``cluster.toml``: what it says about each app, and the line of the first mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.config.cluster_toml import ConfigFile, environment
from launcher.config.toml_lines import refused
from launcher.errors import LauncherError

SHOP = """
[defaults]
bind = "0.0.0.0:8000"
threads = 8
env = { MODE = "both" }

[apps.web]
app = "shop:app"

[apps.admin]
app = "admin:app"
port = 9000
env = { MODE = "admin", DEPTH = 3 }
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "cluster.toml"
    path.write_text(SHOP)
    return str(path)


def test_defaults_are_for_every_app_that_does_not_say_otherwise(path: str) -> None:
    file = ConfigFile.load(path)
    assert list(file.sections) == ["web", "admin"]
    web, admin = file.section("web").given, file.section("admin").given
    assert (web["bind"].texts, web["threads"].texts) == (("0.0.0.0:8000",), ("8",))
    assert (admin["port"].texts, admin["threads"].texts) == (("9000",), ("8",))
    assert "bind" not in admin, "a port is another way to say where it listens"


def test_an_app_that_is_not_in_it(path: str) -> None:
    with pytest.raises(LauncherError, match=f"^{path}: has no app 'x', only: web, admin$"):
        ConfigFile.load(path).section("x")


def test_the_variables_of_an_app_are_those_of_all_and_its_own(path: str) -> None:
    assert environment(path, "web") == {"MODE": "both"}
    assert environment(path, "admin") == {"MODE": "admin", "DEPTH": "3"}
    with pytest.raises(LauncherError, match="has no app 'x' any more"):
        environment(path, "x")


def test_a_statement_that_can_be_read_is_not_refused() -> None:
    assert refused("a = 1\nb = [\n 2\n]\nc = \n") == 5
    assert refused("a = 1\n") == 1, "none of them: then it is the whole that cannot be read"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("apps = 1", ":1: apps: is a number, not a table"),
        ("", ": has no apps: each has a table like [apps.web]"),
        ("[web]\napp = 'x'", ":1: web: unknown key: an app has a table [apps.web]"),
        ("[apps.a-]\nthreds = 1", ":2: apps.a-.threds: unknown key: did you mean 'threads'?"),
        ("[apps.a]\nname = 'b'", ":2: apps.a.name: unknown key: the name of an app is that of"),
        ("[apps.a]\nworkers = true", ":2: apps.a.workers: is true or false, not"),
        ("[apps.a]\nthreads = 1979-05-27", ":2: apps.a.threads: is a date or time, not"),
        ("[apps.a]\nenv = { 'A B' = 'x' }", ":2: apps.a.env.A B: is not the name of a variable"),
        ("[apps.a]\nenv = { A = 1.5 }", ":2: apps.a.env.A: is a number, not a string"),
        ('[apps.a]\nenv = { A = "\\u0000" }', ":2: apps.a.env.A: holds a NUL"),
        ("[apps.'b c']\n", ":1: apps.b c: is not a name"),
        ("[apps.a]\nbind =", ":2: "),
        (f"a = {'[' * 5000}", ":1: is nested too deeply"),
        (f"a = {'9' * 5000}", ":1: a number has too many digits"),
    ],
)
def test_a_mistake_names_the_line_and_the_key(path: str, text: str, problem: str) -> None:
    Path(path).write_text(text)
    with pytest.raises(LauncherError, match=f"^{re.escape(path + problem)}"):
        ConfigFile.load(path)


def test_what_is_no_text_or_too_large_or_not_there(path: str) -> None:
    Path(path).write_bytes(b"\xff")
    with pytest.raises(LauncherError, match="is not UTF-8 text"):
        ConfigFile.load(path)
    Path(path).write_bytes(b"#" * (256 * 1024 + 1))
    with pytest.raises(LauncherError, match="is larger than 256 KiB"):
        ConfigFile.load(path)
    Path(path).unlink()
    with pytest.raises(LauncherError, match="No such file or directory"):
        ConfigFile.load(path)


PLACES = (
    SHOP
    + """
[apps.web.environments.staging]
threads = 2
env = { MODE = "staging", TRACE = "1" }
"""
)


@pytest.fixture
def places(tmp_path: Path) -> str:
    path = tmp_path / "cluster.toml"
    path.write_text(PLACES)
    return str(path)


def test_what_an_environment_says_wins_over_what_its_app_says(places: str) -> None:
    file = ConfigFile.load(places)
    there, elsewhere = file.section("web", "staging"), file.section("web")
    assert (there.given["threads"].texts, elsewhere.given["threads"].texts) == (("2",), ("8",))
    assert there.given["bind"].texts == ("0.0.0.0:8000",)
    assert environment(places, "web", "staging") == {"MODE": "staging", "TRACE": "1"}
    assert environment(places, "web") == {"MODE": "both"}


def test_an_environment_that_is_not_in_it(places: str) -> None:
    file = ConfigFile.load(places)
    with pytest.raises(LauncherError, match=r"web has no environment 'live', only: staging$"):
        file.section("web", "live")
    with pytest.raises(LauncherError, match=r"'x', such as \[apps\.admin\.environments\.x\]$"):
        file.section("admin", "x")
    with pytest.raises(LauncherError, match=r"web has no environment 'live' any more$"):
        environment(places, "web", "live")
