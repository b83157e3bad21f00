"""``restart NAME/SLOT`` as it is typed."""

from __future__ import annotations

import re

from tests.cli.tools import Console
from tests.support import eventually

DIES = """
import os
from web import app
if os.path.exists("die"):
    os.abort()
"""


def ids(console: Console, name: str = "shop") -> dict[int, int]:
    """The online workers' ids, by slot."""
    return {worker["slot"]: worker["id"] for worker in console.online(name)}


def test_one_worker_is_replaced(console: Console) -> None:
    console.ok("start", "web:app", "-n", "shop", "-w", "2", "-p", "0")
    assert console.ok("restart", "shop/1") == "restarted shop/1: worker 2 → 3\n"
    assert eventually(lambda: ids(console) == {0: 1, 1: 3})
    status = console.list()["shop"]
    restarts = {why: count for why, count in status["restarts"].items() if count}
    assert (status["generation"], status["error"]) == (1, None)
    assert eventually(lambda: console.list()["shop"]["restarts"]["restart"] == 1)
    assert {*restarts} <= {"restart"}
    console.ok("start", "web:app", "-n", "blog", "-w", "1", "-p", "0")
    lines = console.ok("restart", "shop/0", "blog/0", "shop/1").splitlines()
    assert lines == [
        "restarted shop/0: worker 1 → 4",
        "restarted shop/1: worker 3 → 5",
        "restarted blog/0: worker 1 → 2",
    ]
    # All names are looked up before anything is done.
    line = console.refused("restart", "shop/0", "blgo/0")
    assert line == "no cluster named 'blgo': did you mean 'blog'?: nothing was done"
    assert ids(console) == {0: 4, 1: 5}
    assert console.refused("restart", "shop/7") == "there is no slot 7: the last one is 1"
    line = console.refused("restart", "shop/one", status=2)
    assert line == "'shop/one' is no NAME/SLOT: a slot is a number, as in web/0"
    line = console.refused("restart", "shop/1", "--update-env", status=2)
    assert line == "--update-env is for whole clusters: one worker has the variables of all"


def test_where_the_new_one_fails_the_old_one_stays(console: Console) -> None:
    console.write("shop.py", DIES)
    console.ok("start", "shop:app", "--no-preload", "-w", "1", "-p", "0")
    (console.folder / "die").touch()
    line = console.refused("restart", "shop/0")
    assert re.fullmatch(
        r"restart of worker 1 failed: worker 2 \(slot 0, pid \d+\) was killed by SIGABRT.*", line
    )
    status = console.list()["shop"]
    assert [worker["id"] for worker in status["workers"]] == [1]
    assert not any(status["restarts"].values())
    (console.folder / "die").unlink()
    assert console.ok("restart", "shop/0") == "restarted shop/0: worker 1 → 3\n"
