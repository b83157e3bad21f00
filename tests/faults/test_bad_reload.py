"""Reloads that cannot succeed: refused with the reason, and the running workers never notice.

And what a reload is for: new code, a switched release folder, new variables.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.faults.deploys import APP, BAD, ENVIRONMENT, Site, good
from tests.faults.tools import assert_nothing_lost, control, name_of, pids, progress
from tests.faults.wire import get
from tests.load import Load
from tests.support import Cluster, StartCluster, children, eventually, pool_of, sized

KINDS = sized(dict(list(BAD.items())[::2]), BAD)


def start(start_cluster: StartCluster, folder: Path, *options: str) -> Cluster:
    cluster = start_cluster(APP, "-w", "2", *options, folder=folder, **ENVIRONMENT)
    return cluster.ready()


def test_no_kind_of_bad_reload_changes_anything(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    options = ("--health-path", "/health", "--boot-timeout", "3")
    cluster = start(start_cluster, site.folder, *options)
    name, before, pool = name_of(cluster), pids(cluster), pool_of(cluster)
    with Load(cluster.address, keep_alive=16, one_shot=4) as load:
        for kind, (source, reason) in KINDS.items():
            site.deploy(source)
            done = cluster.command("reload", name)
            assert done.returncode == 1, kind
            assert reason in done.stderr, kind
            assert pids(cluster) == before, kind
            eventually(lambda: children(cluster.pid) == [pool])
            assert get(cluster.address, "/version").text == "first"
        site.deploy(good("second"))
        assert cluster.command("reload", name).returncode == 0
        books = load.stop()
    assert get(cluster.address, "/version").text == "second"
    assert not {*before.values()} & {*pids(cluster).values()}
    assert_nothing_lost(books)
    assert cluster.status()["error"] is None


def test_workers_that_load_for_themselves_are_reloaded_as_safely(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    cluster = start(start_cluster, site.folder, "--no-preload", "--boot-timeout", "3")
    before, pool = pids(cluster), pool_of(cluster)
    with Load(cluster.address, keep_alive=16, one_shot=4) as load:
        for kind in ("exception", "os._exit(1)", "SIGSEGV", "hang"):
            site.deploy(BAD[kind][0])
            with pytest.raises(LauncherError, match="reload failed"):
                control(cluster, "reload")
            assert pids(cluster) == before, kind
            eventually(lambda: children(cluster.pid) == [pool])
        site.deploy(good("second"))
        control(cluster, "reload")
        books = load.stop()
    assert get(cluster.address, "/version").text == "second"
    assert_nothing_lost(books)


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_error_longer_than_a_message_is_told_in_part(
    start_cluster: StartCluster, tmp_path: Path, preload: str
) -> None:
    site = Site(tmp_path / "site")
    cluster = start(start_cluster, site.folder, preload)
    site.deploy('raise RuntimeError("я" * 100_000)\n')
    with pytest.raises(LauncherError, match="RuntimeError: яя"):
        control(cluster, "reload")
    assert get(cluster.address, "/version").text == "first"


@pytest.mark.parametrize("how", ["--chdir", "PWD", "neither"])
def test_a_switched_release_folder_is_served_after_reload(
    start_cluster: StartCluster, tmp_path: Path, how: str
) -> None:
    for version in ("first", "second"):
        Site(tmp_path / version, version)
    current = tmp_path / "current"
    current.symlink_to("first")
    if how == "--chdir":
        cluster = start(start_cluster, tmp_path, "--chdir", str(current))
    else:  # systemd sets no PWD, others leave an old one
        entered = {"PWD": str(current)} if how == "PWD" else {}
        cluster = start_cluster(APP, folder=current, **entered).ready()
    assert get(cluster.address, "/version").text == "first"
    with Load(cluster.address, keep_alive=8, one_shot=2) as load:
        progress(load)
        (tmp_path / "next").symlink_to("second")
        os.replace(tmp_path / "next", current)
        control(cluster, "reload")
        books = load.stop()
    assert get(cluster.address, "/version").text == "second"
    assert_nothing_lost(books)


def test_a_changed_env_file_is_in_effect_after_reload(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    site.deploy(good("") + 'import os\nVERSION = os.environ.get("RELEASE", "none")\n')
    variables = tmp_path / "variables"
    variables.write_text("RELEASE=first\n")
    cluster = start(start_cluster, site.folder, "--env-file", str(variables))
    assert get(cluster.address, "/version").text == "first"
    variables.write_text("RELEASE=second\n")
    control(cluster, "reload")
    assert get(cluster.address, "/version").text == "second"
    variables.write_text("")
    control(cluster, "reload")
    assert get(cluster.address, "/version").text == "none", "what it no longer sets is gone"
    variables.unlink()
    with pytest.raises(LauncherError, match="environment"):
        control(cluster, "reload")
    assert get(cluster.address, "/version").text == "none"
