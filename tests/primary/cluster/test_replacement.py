"""One worker that is replaced because a user asks for it: histories without processes."""

from __future__ import annotations

import pytest

from launcher.errors import LauncherError
from launcher.policy.lifecycle import WorkerState
from tests.fake_cluster import FakeOutcome
from tests.primary.cluster.conftest import StartFake, serving


def test_one_worker_is_replaced_the_new_one_first(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.done()
    cluster.primary.restart_worker(1, outcome)
    assert (str(cluster.primary.state), cluster.done()) == ("online", ["fork 1/1"])
    assert serving(cluster) == [1, 2]
    for change in (cluster.primary.reload, lambda it: cluster.primary.restart_worker(0, it)):
        with pytest.raises(LauncherError, match="a restart of worker 2 is under way"):
            change(FakeOutcome())
    cluster.roster.ready(3)
    assert outcome.result == {"slot": 1, "old": 2, "new": 3}
    assert cluster.roster.worker(2).state is WorkerState.RETIRING
    cluster.roster.died(2, 0)
    restarts = cluster.primary.record.restarts
    assert {why: count for why, count in restarts.items() if count} == {"restart": 1}
    assert cluster.primary.error is None


@pytest.mark.parametrize("how", ["crash", "unfit", "fork"])
def test_the_old_one_stays_where_the_new_one_will_not_do(fake: StartFake, how: str) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    cluster.done()
    cluster.primary.restart_worker(1, outcome)
    new = cluster.roster.worker(3)
    if how == "crash":
        cluster.roster.died(3)
    elif how == "unfit":
        cluster.roster.events.worker_unfit(new, "was not ready within 5 s")
        cluster.roster.died(3)
    else:
        cluster.roster.gone(3)
        cluster.roster.events.spawn_failed(new, "no memory")
    assert outcome.refusal
    assert outcome.refusal[0].startswith("restart of worker 2 failed: worker 3 (slot 1, pid ")
    old = cluster.roster.worker(2)
    assert (old.state, old.leaving, old.replaced) == (WorkerState.ONLINE, None, False)
    assert [each for each in cluster.done() if each.startswith("fork")] == ["fork 1/1"]
    assert not any(cluster.primary.record.restarts.values()), "and nothing of it is a crash"
    assert (cluster.primary.error, serving(cluster)) == (None, [1, 2])
    again = FakeOutcome()
    cluster.primary.restart_worker(1, again)
    cluster.roster.ready(4)
    assert again.result == {"slot": 1, "old": 2, "new": 4}


def test_what_cannot_be_replaced(fake: StartFake) -> None:
    cluster, outcome = fake().stood_up(), FakeOutcome()
    with pytest.raises(LauncherError, match="there is no slot 2: the last one is 1"):
        cluster.primary.restart_worker(2, outcome)
    cluster.roster.died(2)
    with pytest.raises(LauncherError, match="no worker is online in slot 1"):
        cluster.primary.restart_worker(1, outcome)
    cluster.primary.restart_worker(0, outcome)
    cluster.roster.died(1)
    assert outcome.refusal == ("restart of worker 1 failed: it has died meanwhile", "")
