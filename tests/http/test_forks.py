"""Apps that fork: what comes back to the worker from a child is no worker."""

from __future__ import annotations

import pytest

from tests.http.wire import Wire
from tests.support import Cluster, StartCluster, children, eventually


@pytest.fixture(scope="module")
def cluster(start_shared: StartCluster) -> Cluster:
    return start_shared("forks:app", "-w", "1", "--threads", "2").ready()


@pytest.mark.parametrize("field", ["Accept: */*", "Content-Length: 0"])
@pytest.mark.parametrize("kind", ["view", "stream"])
@pytest.mark.parametrize(
    ("what", "status"), [("exits", 3), ("raises", 1), ("returns", 1), ("ends", 7)]
)
def test_a_child_ends_where_it_comes_back(
    cluster: Cluster, kind: str, what: str, status: int, field: str
) -> None:
    """With the hot path and without, its parent alone answers, and it ends as a process does."""
    pid = cluster.workers()[0]["pid"]
    answer = f"{status} {pid}"
    with Wire(cluster.address, timeout=10) as wire:
        for _ in range(2):
            response = wire.ask(f"/{kind}/{what}", field)
            assert response.text.removeprefix("begun ") == answer
            assert not response.closes
        assert wire.finish().is_closed()
    eventually(lambda: children(pid) == [])


@pytest.mark.parametrize("what", ["multiprocessing", "subprocess"])
def test_the_standard_librarys_children_end_by_themselves(cluster: Cluster, what: str) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask(f"/library/{what}").text == f"3 {cluster.workers()[0]['pid']}"


def test_what_a_child_failed_with_is_in_the_log(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask("/view/raises").status == 200
    eventually(lambda: "RuntimeError: the child failed" in cluster.log)
