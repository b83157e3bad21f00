"""What is asked of the C library about memory, and that nothing is where it is another."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from launcher import memory
from tests.support import ROOT

MB = 1 << 20


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls, which are not made."""
    calls: list[tuple[Any, ...]] = []

    def function(name: str) -> Callable[..., None]:
        return lambda *arguments: calls.append((name, *arguments))

    monkeypatch.setattr(memory, "_function", function)
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_one_arena(asked: list[tuple[Any, ...]]) -> None:
    memory.use_one_arena()
    assert asked == [("mallopt", -8, 1)]


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_ARENA_MAX", "4"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=4")]
)
def test_what_the_user_says_counts(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    memory.use_one_arena()
    assert asked == []


def test_where_the_c_library_is_another_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    memory.use_one_arena()
    memory.give_back()


_USES_AND_FREES = """
import threading
from pathlib import Path
from launcher import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def use():
    together.wait()
    for size in (10_000_000, 5_000_000, 10_000_000):
        bytes(size)

memory.use_one_arena()
before = resident()
threads = [threading.Thread(target=use) for _ in range(6)]
together = threading.Barrier(len(threads))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
memory.give_back()
print(resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_what_threads_have_freed_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", _USES_AND_FREES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 2 * MB
