"""``--watch``: which changes have the app loaded anew, and when."""

from __future__ import annotations

from launcher.ipc.messages import Changed, Look
from tests.fake_cluster import FakeCluster
from tests.primary.cluster.conftest import StartFake


def changed(cluster: FakeCluster, *paths: str, asked: bool = False) -> None:
    """The pool of the newest generation has found these changed."""
    cluster.roster.events.code_changed(cluster.roster.generations[-1], Changed([*paths], asked))


def loaded(cluster: FakeCluster) -> None:
    """The newest generation is loaded, and all of its workers are ready."""
    generation = cluster.roster.generations[-1]
    cluster.roster.loaded(generation.number)
    cluster.roster.ready(*generation.workers)
    cluster.done()


def test_a_change_has_the_app_loaded_at_once(fake: StartFake) -> None:
    cluster = fake().stood_up()
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    assert cluster.done() == ["launch 2"]
    changed(cluster, "other.py")
    cluster.reactor.advance(0)
    assert cluster.done() == [], "what changes during a load is judged after it"


def test_what_a_developer_changes_during_a_load_is_loaded_after_it(fake: StartFake) -> None:
    """In the second load: what changes in every load is the app's own doing."""
    cluster = fake().stood_up()
    for number, paths in ((2, []), (3, ["app.py"])):
        changed(cluster, "app.py")
        cluster.reactor.advance(0)
        assert cluster.done() == [f"launch {number}"]
        changed(cluster, *paths)
        loaded(cluster)
    cluster.reactor.advance(0)
    assert cluster.done() == ["launch 4"]


def test_what_the_app_writes_in_every_load_is_no_reason(fake: StartFake) -> None:
    cluster = fake()
    cluster.primary.start()
    changed(cluster, "version.py")
    loaded(cluster)
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    assert cluster.done() == ["launch 2"]
    changed(cluster, "version.py")
    loaded(cluster)
    cluster.reactor.advance(1)
    assert cluster.done() == []
    changed(cluster, "version.py")
    cluster.reactor.advance(1)
    assert cluster.done() == [], "nor is it later"


def test_the_pool_is_asked_what_has_changed_up_to_the_end_of_the_load(fake: StartFake) -> None:
    cluster = fake(watch=True)
    cluster.primary.start()
    told: list[object] = []

    def tell(message: object, descriptors: tuple[int, ...] = ()) -> bool:
        told.append((message, *descriptors))
        return True

    cluster.roster.generations[0].tell = tell  # type: ignore[method-assign]
    cluster.roster.loaded(1)
    cluster.roster.ready(1)
    assert told == [], "the load is not over"
    cluster.roster.ready(2)
    assert told == [(Look(),)]
    cluster.primary.step()
    assert told == [(Look(),)]
    cluster.done()
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    assert cluster.done() == []
    changed(cluster, asked=True)
    cluster.reactor.advance(0)
    assert cluster.done() == []
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    assert cluster.done() == ["launch 2"], "after the first load every change is a reason"


def test_code_that_cannot_live_is_loaded_again_when_it_changes(fake: StartFake) -> None:
    cluster = fake(max_restarts=2)
    cluster.primary.start()
    loaded(cluster)
    for worker in cluster.roster.workers():
        cluster.roster.died(worker.id, 1 << 8)
    cluster.done()
    assert str(cluster.primary.state) == "errored"
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    assert cluster.done() == ["launch 2"]


def test_reloads_without_end_are_slowed_down(fake: StartFake) -> None:
    cluster = fake().stood_up()
    for number in range(2, 8):
        changed(cluster, "app.py")
        cluster.reactor.advance(0)
        assert cluster.done() == [f"launch {number}"]
        loaded(cluster)
    changed(cluster, "app.py")
    cluster.reactor.advance(9.999)
    assert cluster.done() == []
    cluster.reactor.advance(0.001)
    assert cluster.done() == ["launch 8"]


def test_a_change_that_the_pool_of_an_earlier_generation_sees_is_none(fake: StartFake) -> None:
    cluster = fake().stood_up()
    old = cluster.roster.generations[0]
    changed(cluster, "app.py")
    cluster.reactor.advance(0)
    loaded(cluster)
    cluster.roster.events.code_changed(old, Changed(["app.py"], False))
    cluster.reactor.advance(0)
    assert cluster.done() == []
