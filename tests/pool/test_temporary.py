"""Temporary files where there is no folder for them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from gunicorn import config
from gunicorn.workers import base
from gunicorn.workers.workertmp import WorkerTmp

from launcher.pool.loading import temporary

Config: Any = config.Config
Worker: Any = base.Worker


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder for temporary files; what is changed because of that is put back."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    monkeypatch.setattr(base, "WorkerTmp", WorkerTmp)
    monkeypatch.setenv("TMPDIR", "/proc/none")


def test_they_are_in_memory_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "SHARED_MEMORY", str(tmp_path))
    (notice,) = temporary.provide()
    assert notice.endswith(f"they are in {tmp_path}, and take memory: set TMPDIR")
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_without_any_gunicorns_worker_can_be_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It makes its file by the name that is replaced."""
    monkeypatch.setattr(temporary, "SHARED_MEMORY", "/proc/none")
    (notice,) = temporary.provide()
    assert "requests with large bodies fail" in notice
    worker = Worker(1, 1, [], None, 0, Config(), None)
    assert type(worker.tmp) is temporary.InMemory
    file: Any = worker.tmp
    worker.notify()
    assert file.last_update()
    file.close()


def test_the_folder_that_a_user_names_counts(tmp_path: Path) -> None:
    cfg = Config()
    cfg.set("worker_tmp_dir", str(tmp_path))
    file: Any = temporary.InMemory(cfg)
    assert os.readlink(f"/proc/self/fd/{file.fileno()}").startswith(str(tmp_path))
    file.close()


def test_where_there_is_a_place_there_is_nothing_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path)])
    assert temporary.provide() == []
    assert WorkerTmp is vars(base)["WorkerTmp"]
