"""The facts of a cluster's life: their names, texts and values, which are promises to users."""

from __future__ import annotations

import json

import pytest

from launcher.events import changes, cluster, workers
from launcher.events.fact import Event, Worker
from launcher.state.event_log import TEXTS
from tests.test_layering import LAUNCHER, PURE

W = Worker(worker=3, slot=0, pid=77, generation=2)
WHICH = {"worker": 3, "slot": 0, "pid": 77, "generation": 2}

FACTS = {
    "worker_online": workers.WorkerOnline(W),
    "worker_exited": workers.WorkerExited(W, "crash", None, "SIGKILL", asked=False),
    "worker_not_forked": workers.WorkerNotForked(W, "Cannot allocate memory"),
    "worker_unfit": workers.WorkerUnfit(W, "was not ready within 3 s"),
    "worker_leaves": workers.WorkerLeaves(W, "the app asked for it"),
    "worker_restart_begun": workers.WorkerRestartBegun(W),
    "worker_restart_done": workers.WorkerRestartDone(W, 1),
    "worker_restart_failed": changes.ChangeFailed("restart of worker 1", "it was not ready"),
    "worker_frozen": workers.WorkerFrozen(W, 32.0),
    "worker_overweight": workers.WorkerOverweight(W, 512),
    "worker_aged": workers.WorkerAged(W, 3600.4),
    "worker_spent": workers.WorkerSpent(W),
    "worker_goes_on": workers.WorkerGoesOn(W),
    "worker_ended_by_force": workers.WorkerEndedByForce(W),
    "connections_rescued": workers.ConnectionsRescued(W, 5, 1, 0, 0, 2),
    "pool_not_started": cluster.PoolNotStarted("Cannot allocate memory"),
    "pool_lost": cluster.PoolLost(2, "the pool was killed by SIGKILL"),
    "pool_ended_by_force": cluster.PoolEndedByForce(2),
    "app_loading": cluster.AppLoading("web:app"),
    "app_still_loading": cluster.AppStillLoading("web:app", 5.2, 24.8),
    "backoff": cluster.Backoff(0.15, 2),
    "crash_loop": cluster.CrashLoop(10),
    "reload_requested": changes.ReloadRequested("SIGHUP"),
    "reload_due": changes.ReloadDue("04:00"),
    "reload_begun": changes.ChangeBegun("reload", 2),
    "restart_done": changes.ChangeDone("restart", 4, 2),
    "scale_failed": changes.ChangeFailed("scale", "the cluster was stopped"),
    "scale_begun": changes.ScaleBegun(2, 4),
    "code_changed": changes.CodeChanged("/app/web.py and 2 more"),
    "code_settled": changes.CodeSettled("/app/web.db"),
    "reload_held_back": changes.ReloadHeldBack(9.7, "/app/web.db"),
    "cluster_ready": cluster.ClusterReady("web", "http://127.0.0.1:80", "2: --workers"),
    "cluster_stopping": cluster.ClusterStopping(30.0),
    "cluster_ended_by_force": cluster.ClusterEndedByForce("the pool"),
    "cluster_stopped": cluster.ClusterStopped(),
    "cluster_failed": cluster.ClusterFailed("interrupted again"),
    "folder_restored": cluster.FolderRestored("/home/me/.launcher/web"),
    "folder_lost": cluster.FolderLost("no space"),
    "accept_failed": cluster.AcceptFailed("Too many open files"),
    "accept_resumed": cluster.AcceptResumed(),
    "room_exhausted": cluster.RoomExhausted(900, 1024),
    "room_regained": cluster.RoomRegained(),
}
"""One of each, by the name that scripts know it by."""

TEXTS_OF = {
    "worker_exited": "worker 3 (slot 0, pid 77) was killed by SIGKILL",
    "worker_frozen": "worker 3 (slot 0, pid 77) gives no sign of life for 32 s: ending it",
    "worker_overweight": "worker 3 (slot 0, pid 77) uses more than 512 MiB: replacing it",
    "worker_aged": "worker 3 (slot 0, pid 77) has served for 3600 s: replacing it",
    "connections_rescued": "connections of worker 3 (slot 0, pid 77):"
    " 5 dealt again, 1 with a request to run again, 2 cut",
    "worker_restart_done": "restart of worker 1 done: worker 3 (slot 0, pid 77) has its slot",
    "worker_restart_failed": "restart of worker 1 failed: it was not ready",
    "app_still_loading": "still loading 'web:app', for 5 s; 25 s more are left to it"
    " (--boot-timeout)",
    "reload_begun": "reloading: generation 2 is being loaded",
    "restart_done": "restart done: 4 workers of generation 2 are online",
    "cluster_ready": "'web' is ready at http://127.0.0.1:80, workers: 2: --workers",
    "cluster_stopping": "stopping; running requests have 30 s to finish",
}


def _kinds(event: type[Event]) -> set[str]:
    """By name: a class with slots is made twice, and both are subclasses."""
    found = {kind for each in event.__subclasses__() for kind in _kinds(each)}
    return found if event.__name__.startswith("_") or event is Event else {event.__name__, *found}


def test_every_kind_of_fact_is_in_the_table_and_keeps_its_name() -> None:
    assert {type(fact).__name__ for fact in FACTS.values()} == _kinds(Event)
    assert {name: fact.event for name, fact in FACTS.items()} == {name: name for name in FACTS}


@pytest.mark.parametrize("name", TEXTS_OF)
def test_texts(name: str) -> None:
    assert FACTS[name].text == TEXTS_OF[name]


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
def test_a_fact_is_one_line_and_json(fact: Event) -> None:
    assert fact.text
    assert "\n" not in fact.text
    values = fact.values()
    assert json.loads(json.dumps(values)) == values
    assert not {*values} & {*TEXTS}, "the keys that every event has"


def test_the_values_of_a_worker_stand_beside_the_others() -> None:
    exited = workers.WorkerExited(W, "crash", 1, None, asked=False, error="out of memory")
    assert exited.values() == WHICH | {
        "reason": "crash",
        "code": 1,
        "signal": None,
        "asked": False,
        "error": "out of memory",
    }
    assert exited.text == "worker 3 (slot 0, pid 77) exited with status 1: out of memory"


def test_what_is_a_matter_of_course_has_no_line_in_the_log() -> None:
    asked = workers.WorkerExited(W, "reload", 0, None, asked=True)
    assert asked.text == "worker 3 (slot 0, pid 77) exited with status 0 (reload)"
    assert not asked.logged
    quiet = {name for name, fact in FACTS.items() if not fact.logged}
    assert quiet == {"connections_rescued", "backoff", "cluster_failed"}


def test_braces_in_a_value_are_text() -> None:
    assert cluster.AppLoading("{0.app}").text == "loading '{0.app}' …"


def test_facts_know_nothing_of_the_launcher() -> None:
    modules = LAUNCHER.of_package("launcher.events")
    assert len(modules) > 3
    for module in modules:
        odd = {name for name in LAUNCHER.imports(module) - PURE if "launcher.events" not in name}
        assert odd == set(), module
