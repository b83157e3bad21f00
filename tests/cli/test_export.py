"""``export`` as people type it: which clusters, which files, and what it never tells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.cli.commands.export import FORMATS
from tests.cli.tools import Console
from tests.export.tools import CANARY

TOML = """
[defaults]
env = { SECRET_KEY = "canary-2d1c" }
status_bind = "0.0.0.0:9000"

[apps.shop]
app = "web:app"
bind = "0.0.0.0:8001"
env_file = "shop.env"

[apps.blog]
app = "web:app"
bind = "0.0.0.0:8002"
"""


@pytest.fixture
def project(console: Console) -> Console:
    """A folder with two apps, and with a canary wherever a value could come from."""
    console.write("cluster.toml", TOML)
    console.write("shop.env", f"DATABASE_URL={CANARY}\n")
    console.environ |= {"TOKEN": CANARY, "LAUNCHER_HEALTH_PATH": f"/{CANARY}"}
    return console


def names(engine: str) -> list[str]:
    """What a command line names: an image has one command."""
    return ["shop"] if engine == "dockerfile" else []


@pytest.mark.parametrize("engine", FORMATS)
def test_no_value_of_a_variable_is_told_and_the_same_comes_out_again(
    project: Console, engine: str
) -> None:
    first = project.ok("export", engine, *names(engine))
    assert first.startswith(f"# {_files(engine)[0]}: launcher ")
    assert CANARY not in first
    assert project.ok("export", engine, *names(engine), LANG="de_DE.UTF-8", COLUMNS="40") == first
    if engine in ("compose", "kubernetes", "quadlet"):
        assert "DATABASE_URL" in first
        assert "SECRET_KEY" in first


def _files(engine: str) -> list[str]:
    return {
        "systemd": ["shop.service", "blog.service"],
        "quadlet": ["shop.container", "blog.container"],
        "compose": ["compose.yaml"],
        "kubernetes": ["shop.yaml", "blog.yaml"],
        "dockerfile": ["Dockerfile"],
        "procfile": ["Procfile"],
        "haproxy": ["haproxy.cfg"],
        "nginx": ["nginx.conf"],
    }[engine]


@pytest.mark.parametrize("engine", FORMATS)
def test_files_are_written_and_never_overwritten_when_they_differ(
    project: Console, engine: str
) -> None:
    command = ("export", engine, *names(engine), "--out", "deploy/x")
    folder = project.folder / "deploy/x"
    files = _files(engine)
    assert project.ok(*command) == "".join(f"wrote: deploy/x/{name}\n" for name in files)
    written = {name: (folder / name).read_text() for name in files}
    assert sorted(os.listdir(folder)) == sorted(files)
    assert project.ok(*command) == "".join(f"unchanged: deploy/x/{name}\n" for name in files)

    last = folder / files[-1]
    last.write_text(written[files[-1]] + "# mine\n")
    (folder / files[0]).unlink()
    edited = last.read_text() if last.exists() else None
    if edited is not None:
        assert project.refused(*command) == (
            f"deploy/x/{last.name}: was edited since it was exported: --force replaces it"
        )
        assert last.read_text() == edited
        assert len(files) == 1 or not (folder / files[0]).exists(), "all or nothing"
    project.ok(*command, "--force")
    assert {name: (folder / name).read_text() for name in files} == written


def test_it_tells_an_earlier_export_from_what_is_none(project: Console) -> None:
    project.ok("export", "nginx", "--out", ".")
    (project.folder / "cluster.toml").write_text(TOML.replace("8002", "8003"))
    assert "nginx.conf: is of an earlier export: --force" in project.refused(
        "export", "nginx", "--out", "."
    )
    project.write("nginx.conf", "events {}\n")
    assert "is there already, and no export" in project.refused("export", "nginx", "--out", ".")


def test_a_cluster_that_was_started_is_exported_as_it_was_started(console: Console) -> None:
    console.ok("start", "web:app", "-w", "2", "-p", "0", "--timeout", "9", TOKEN=CANARY)
    unit = console.ok("export", "systemd", "web")
    assert " run web:app --name web --bind 127.0.0.1:0 --workers 2 " in unit
    assert " --timeout 9" in unit
    assert "#   PYTHONPATH TOKEN\n" in unit
    assert CANARY not in unit
    assert console.ok("export", "systemd", "all") == unit
    console.ok("scale", "web", "1")
    console.ok("stop", "web")
    assert "--workers 1 " in console.ok("export", "systemd", "web")


def test_a_name_is_first_that_of_an_app_of_the_file(project: Console) -> None:
    one = project.ok("export", "procfile", "blog")
    assert one.splitlines()[1].startswith(
        "web: exec python -m launcher run --config cluster.toml blog"
    )
    assert project.ok("export", "procfile", "all") == project.ok("export", "procfile")
    told = project.refused("export", "procfile", "blgo")
    assert told == "no cluster named 'blgo': did you mean 'blog'?"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("systemd --hpa", "--hpa means nothing to systemd: it is for kubernetes"),
        ("nginx --image x", "--image means nothing to nginx: it is for"),
        ("compose --host a", "--host means nothing to compose: it is for haproxy, nginx"),
        ("systemd --force", "--force replaces files: it goes with --out FOLDER"),
        ("systemd --user a;b", "--user: 'a;b' is none"),
        ("compose --image $(x)", "--image: '$(x)' is none"),
        ("upstart", "'upstart' is not one of"),
        ("haproxy --host a/b", "--host: 'a/b' is no host"),
    ],
)
def test_a_mistake_is_one_line(project: Console, line: str, refusal: str) -> None:
    assert refusal in project.refused("export", *line.split(), status=2)


def test_without_a_file_a_name_is_needed(console: Console) -> None:
    told = console.refused("export", "systemd", status=2)
    assert told == "there is no cluster.toml in this folder: name a cluster"
    assert "no cluster named 'web'" in console.refused("export", "systemd", "web")
    assert "'all' stands alone" in console.refused("export", "systemd", "all", "web", status=2)


def test_without_a_status_address_there_are_no_probes(console: Console) -> None:
    console.write("cluster.toml", TOML.replace("status_bind =", "#"))
    console.write("shop.env", "")
    for engine in ("kubernetes", "compose", "quadlet", "haproxy"):
        told = console.refused("export", engine)
        assert told.startswith("shop: probes ask its status address: set status_bind")


def test_what_cannot_be_written_is_one_line(project: Console, tmp_path: Path) -> None:
    project.write("file", "")
    assert "file" in project.refused("export", "nginx", "--out", "file")
    (project.folder / "deploy" / "nginx.conf").mkdir(parents=True)
    assert "deploy/nginx.conf" in project.refused("export", "nginx", "--out", "deploy")


def test_an_export_is_not_started_by_a_look_at_the_home(project: Console) -> None:
    project.ok("export", "systemd")
    assert not project.home.exists()
    assert json.loads(project.ok("list", "--json")) == []


def test_what_only_export_heeds_is_told_where_it_would_be_missed(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", "-p", "0", "--drain", "3")
    assert "--drain is for export only" in console.ok("logs", "web")
    assert "--drain 3" in console.ok("export", "systemd", "web")
    assert "TimeoutStopSec=38" in console.ok("export", "systemd", "web")
