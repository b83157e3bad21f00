"""``--watch``: what is saved is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.config.resolve import resolve
from launcher.errors import UsageError
from launcher.pool.loading.source_watch import SourceWatch
from tests.faults.deploys import APP, ENVIRONMENT, Site, good
from tests.faults.tools import pids, progress
from tests.faults.wire import get
from tests.load import Load
from tests.support import APPS, ROOT, Cluster, StartCluster, eventually


def watching(start_cluster: StartCluster, site: Site) -> Cluster:
    cluster = start_cluster(APP, "-w", "2", "--watch", folder=site.folder, **ENVIRONMENT)
    return cluster.ready()


def serves(cluster: Cluster, version: str) -> bool:
    return get(cluster.address, "/version").text == version


def test_what_is_saved_is_served_and_nobody_notices(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    cluster = watching(start_cluster, site)
    with Load(cluster.address, keep_alive=8, one_shot=2) as load:
        for version in ("second", "third"):
            progress(load)
            site.deploy(good(version))
            eventually(lambda: serves(cluster, version), within=30)  # noqa: B023
        books = load.stop()
    assert books.failures == []
    assert "release.py has changed" in cluster.log


def test_a_mistake_is_told_and_its_correction_served(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    cluster = watching(start_cluster, site)
    before = pids(cluster)
    site.deploy("def app(:\n")
    eventually(lambda: "reload failed" in cluster.log and "SyntaxError" in cluster.log, within=30)
    assert pids(cluster) == before
    assert serves(cluster, "first")
    site.deploy(good("second"))
    eventually(lambda: serves(cluster, "second"), within=30)


def test_a_new_file_counts_and_so_do_templates(tmp_path: Path) -> None:
    watch = SourceWatch(str(tmp_path))
    assert watch.changed() == []
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("1")
    assert watch.changed() == [os.path.join("pages", "index.html")]
    assert watch.changed() == [], "told once"
    (tmp_path / "pages" / "index.html").unlink()
    assert watch.changed() == [os.path.join("pages", "index.html")]


def test_the_same_bytes_are_no_change(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text("1")
    watch = SourceWatch(str(tmp_path))
    path.write_text("1")
    os.utime(path, (1, 1))
    path.chmod(0o600)
    assert watch.changed() == []
    (tmp_path / "new").write_text("1")
    (tmp_path / "new").rename(path)
    assert watch.changed() == []
    path.write_text("2")
    os.utime(path, (1, 1))  # as old and as long as before
    assert watch.changed() == ["app.py"]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.html", {"a.html", "x/b.html", "x/y/c.html"}),
        ("x", {"x/b.html", "x/b.py", "x/y/c.html", "x/y/c.py"}),
        ("x/", {"x/b.html", "x/b.py", "x/y/c.html", "x/y/c.py"}),
        ("y", {"x/y/c.html", "x/y/c.py"}),
        ("x/*.py", {"x/b.py"}),
        ("./x/*.py", {"x/b.py"}),
        ("x/**", {"x/b.html", "x/b.py", "x/y/c.html", "x/y/c.py"}),
        ("**/c.*", {"x/y/c.html", "x/y/c.py"}),
        ("x/**/*.py", {"x/b.py", "x/y/c.py"}),
        ("?.py", {"a.py", "x/b.py", "x/y/c.py"}),
        ("[ab].py", {"a.py", "x/b.py"}),
        ("[!ab].py", {"x/y/c.py"}),
        ("[.py", set()),
        ("a", set()),
        ("b.py/x", set()),
    ],
)
def test_what_is_to_be_ignored(tmp_path: Path, pattern: str, paths: set[str]) -> None:
    watch, ignoring = SourceWatch(str(tmp_path)), SourceWatch(str(tmp_path), [pattern, "none"])
    (tmp_path / "x" / "y").mkdir(parents=True)
    for path in ("a", "x/b", "x/y/c"):
        for kind in (".py", ".html"):
            (tmp_path / f"{path}{kind}").write_text("1")
    assert set(watch.changed()) - set(ignoring.changed()) == paths


@pytest.mark.parametrize("pattern", ["", "/etc", "../x", "a/../b", ".", "/"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"^--watch-ignore: "):
        resolve({"watch_ignore": ("fine", pattern)}, {})


WRITES = """
import time
from pathlib import Path
from echo import app as echo

Path("stamp.py").write_text(f"LOADED = {time.time_ns()}")

def app(environ, start_response):
    Path("page.html").write_text("always the same")
    return echo(environ, start_response)

"""


@pytest.mark.parametrize("how", ["--preload", pytest.param("--no-preload", marks=pytest.mark.long)])
def test_what_an_app_writes_itself_is_no_reason(
    start_cluster: StartCluster, tmp_path: Path, how: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "app.py").write_text(WRITES)
    (site / "page.html").write_text("always the same")
    cluster = start_cluster(
        "app:app",
        "-w",
        "2",
        "--watch",
        how,
        folder=site,
        PYTHONPATH=f"{ROOT}:{APPS}",
        **ENVIRONMENT,
    ).ready()
    own = "stamp.py changed while the app was loaded: taken for its own doing"
    for generation in (1, 2, 3):
        eventually(lambda: cluster.log.count(own) == generation, within=20)  # noqa: B023
        assert {get(cluster.address, "/clustered").status for _ in range(4)} == {200}
        assert cluster.status()["generation"] == generation
        (site / "app.py").write_text(f"{WRITES}# {generation}\n")
    eventually(lambda: cluster.log.count(own) == 4, within=20)
    assert cluster.log.count("has changed") == cluster.log.count("reloading: ") == 3
    assert cluster.log.count("app.py has changed") == 3


def test_what_is_saved_while_the_app_is_loaded_is_not_lost(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    cluster = watching(start_cluster, site)
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    slow = f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
    slow += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    site.deploy(good("second") + slow)
    eventually(begun.exists, within=20)
    site.deploy(good("third"))
    gate.touch()
    eventually(lambda: serves(cluster, "third"), within=30)


def test_data_hidden_folders_and_environments_do_not(tmp_path: Path) -> None:
    watch = SourceWatch(str(tmp_path))
    for name in (".git", "node_modules", "__pycache__", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("1")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "gone.py").symlink_to("nowhere")
    assert watch.changed() == []
