"""A call into C that keeps the interpreter for itself: those beside it have as little time left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.test_timeouts import BUSY, QUICK, TIMEOUT, assert_replaced_one, stacks
from tests.faults.tools import assert_nothing_lost, pids, progress
from tests.faults.wire import get
from tests.load import Load
from tests.support import StartCluster


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("regex", QUICK),
        pytest.param("regex", BUSY, marks=pytest.mark.long),
        pytest.param("sum", QUICK, marks=pytest.mark.long),
        ("sum", BUSY),
    ],
)
def test_a_c_call_that_holds_the_interpreter_gets_504_alone(
    start_cluster: StartCluster, tmp_path: Path, how: str, path: str
) -> None:
    options = ("--timeout", f"{TIMEOUT:g}")
    environment = {"COUNT_FILE": str(tmp_path / "count")}
    cluster = start_cluster("faulty:app", "-w", "2", *options, **environment).ready()
    before = {*pids(cluster).values()}
    with Load(cluster.address, keep_alive=12, one_shot=4, path=path) as load:
        progress(load)
        reply = get(cluster.address, f"/hang/{how}")
        progress(load)
        books = load.stop()
    assert reply.status == 504
    assert_nothing_lost(books)
    assert_replaced_one(cluster, before)
    assert stacks(cluster, f"hang_{how}") == 1
