"""What each reader makes of a text, and the rest of the sentence when it makes nothing of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.readers import (
    one_of,
    open_regular,
    read_folder,
    read_glob,
    read_log_size,
    read_path,
)

LETTERS = one_of(("a", "b"))


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (LETTERS, "b", "b"),
        (read_path, "/healthz?full=1", "/healthz?full=1"),
        (read_log_size, "0", 0),
        (read_log_size, "64K", 64 << 10),
        (read_glob, "build/**/*.py", "build/**/*.py"),
    ],
)
def test_what_is_read(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "problem"),
    [
        (LETTERS, "c", "is none of a, b"),
        (read_path, "healthz", "is not a path: write /healthz"),
        (read_path, "/a b", "is not a path: write /healthz"),
        (read_log_size, "1K", "is too small for a log file: write 64K or more, or 0 for no limit"),
        (read_glob, "/etc/*", "is no pattern of what is below --chdir"),
        (read_glob, "../*", "is no pattern of what is below --chdir"),
        (read_glob, "./", "is no pattern of what is below --chdir"),
    ],
)
def test_what_is_refused(read: Callable[[str], Any], text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        read(text)


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may enter every folder, so the answer of access(2) is another user's."""
    assert read_folder(str(tmp_path)) == str(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        read_folder(str(tmp_path))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="is no regular file"), open_regular(str(tmp_path / "fifo")):
        pass
