"""``--watch``: what is saved is served."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.pool.source_watch import SourceWatch
from tests.faults.deploys import APP, ENVIRONMENT, Site, good
from tests.faults.tools import pids, progress
from tests.faults.wire import get
from tests.load import Load
from tests.support import Cluster, StartCluster, eventually


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
    assert watch.changed() is None
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("1")
    assert watch.changed() == os.path.join("pages", "index.html")
    assert watch.changed() is None, "told once"
    (tmp_path / "pages" / "index.html").unlink()
    assert watch.changed() == os.path.join("pages", "index.html")


def test_data_hidden_folders_and_environments_do_not(tmp_path: Path) -> None:
    watch = SourceWatch(str(tmp_path))
    for name in (".git", "node_modules", "__pycache__", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("1")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "gone.py").symlink_to("nowhere")
    assert watch.changed() is None
