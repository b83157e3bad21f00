"""Which changes are a reason to reload, and how often that may be."""

from __future__ import annotations

from launcher.policy.code_changes import BURST, INTERVAL, Brake, CodeChanges, LoadEnded


def load(changes: CodeChanges, generation: int, *paths: str) -> LoadEnded:
    """A load during which the pool of a generation sees these changes."""
    changes.load_begins()
    assert changes.loading
    assert changes.heard(generation, paths) == []
    ended = changes.load_ended(generation)
    assert not changes.loading
    return ended


def test_a_change_is_a_reason() -> None:
    changes = CodeChanges()
    assert load(changes, 1) == ([], [])
    assert changes.heard(1, ["app.py"]) == ["app.py"]


def test_what_changes_while_the_first_generation_loads_is_its_own_doing() -> None:
    changes = CodeChanges()
    assert load(changes, 1, "stamp.py") == ([], ["stamp.py"])
    # Once may also have been a developer, who will go on working on it.
    assert changes.heard(1, ["stamp.py"]) == ["stamp.py"]
    assert load(changes, 2, "stamp.py") == ([], ["stamp.py"])
    assert changes.heard(2, ["stamp.py", "app.py"]) == ["app.py"]


def test_what_is_saved_while_a_generation_loads_is_one_more_reason() -> None:
    changes = CodeChanges()
    load(changes, 1, "stamp.py")
    assert load(changes, 2, "stamp.py", "app.py") == (["app.py"], ["stamp.py"])
    assert load(changes, 3, "stamp.py", "app.py") == (["app.py"], ["stamp.py"]), "and again"
    assert load(changes, 4, "stamp.py") == ([], ["stamp.py"])
    assert changes.heard(4, ["app.py", "stamp.py"]) == ["app.py"]


def test_what_is_new_in_what_an_app_writes_costs_two_loads() -> None:
    changes = CodeChanges()
    load(changes, 1)
    assert load(changes, 2, "new.py").reasons == ["new.py"]
    assert load(changes, 3, "new.py").reasons == ["new.py"]
    assert load(changes, 4, "new.py") == ([], ["new.py"])
    assert changes.heard(4, ["new.py"]) == []
    assert load(changes, 5) == ([], [])
    assert changes.heard(5, ["new.py"]) == ["new.py"], "it is written no more"


def test_only_the_pool_that_serves_in_the_end_knows_what_was_not_loaded() -> None:
    changes = CodeChanges()
    load(changes, 1)
    changes.load_begins()
    changes.heard(1, ["saved-before-2-began-to-look.py"])
    changes.heard(2, ["later.py"])
    assert changes.load_ended(2) == (["later.py"], [])
    changes.load_begins()
    changes.heard(2, ["correction.py"])
    assert changes.load_ended(2) == (["correction.py"], []), "3 has failed"


def test_reloads_that_go_on_and_on_are_slowed_down() -> None:
    brake, now = Brake(), 1000.0
    times = []
    for _ in range(BURST + 3):
        now = brake.next(now)
        brake.took(now)
        times.append(now)
    assert times == [1000.0] * BURST + [1000.0 + INTERVAL * n for n in (1, 2, 3)]


def test_somebody_who_saves_now_and_then_never_waits() -> None:
    brake = Brake()
    for index in range(50):
        now = index * INTERVAL
        assert brake.next(now) == now
        brake.took(now)
