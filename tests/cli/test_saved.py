"""``save`` and ``resurrect``: the same set with the same scale, whatever happened meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal

from tests.cli.tools import Console
from tests.support import alive, eventually

PORT = ("-p", "0")


def kill_everything(console: Console) -> None:
    """As a power cut."""
    primaries = [each["pid"] for each in console.list().values() if each["pid"]]
    workers = [w["pid"] for each in console.list().values() for w in each["workers"]]
    for pid in [*primaries, *workers]:
        with contextlib.suppress(ProcessLookupError):  # workers end when their primary does
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, [*primaries, *workers])))


def test_the_running_set_comes_back_with_its_scale(console: Console) -> None:
    console.write(
        "cluster.toml",
        '[defaults]\napp = "web:app"\nport = 0\nworkers = 1\n'
        '[apps.shop.env]\nSECRET = "canary-table"\n[apps.blog]\n',
    )
    console.ok("start", CANARY="canary-shell")
    console.ok("start", "web:app", "-n", "gone", "-w", "1", *PORT)
    console.ok("stop", "gone")
    console.ok("scale", "shop", "3")
    saved = console("save")
    assert saved.stdout == "saved 2 clusters: blog, shop\n"
    assert saved.stderr.startswith("launcher: not saved: the values of CANARY; resurrect takes")
    kill_everything(console)
    assert {each["status"] for each in console.list().values()} == {"stopped"}
    done = console("resurrect")
    assert "blog: started without variables that it had before: CANARY: " in done.stderr
    assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [
        "started blog",
        "started shop",
    ]
    found = console.list()
    assert {name: each["status"] for name, each in found.items()} == {
        "blog": "online",
        "gone": "stopped",
        "shop": "online",
    }
    assert (len(found["shop"]["workers"]), len(found["blog"]["workers"])) == (3, 1)
    answer = console.ask("shop", "SECRET", "CANARY")
    assert (answer["SECRET"], answer["CANARY"]) == ("canary-table", None)
    assert "canary" not in (console.home / ".saved.json").read_text()
    line = console.ok("resurrect")
    assert line == "nothing to do: all clusters of the saved set run already\n"


def test_variables_are_not_saved_and_that_is_said(console: Console) -> None:
    console.write("app.env", "FROM_FILE=1\n")
    console.write(
        "cluster.toml",
        '[apps.web]\napp = "web:app"\nport = 0\nworkers = 1\n[apps.web.env]\nTOML = 1\n',
    )
    shell = {"CANARY": "secret-value", "FROM_FILE": "1", "TOML": "1", "SSH_TTY": "/dev/pts/1"}
    started = console("start", "--env-file", "app.env", **shell)
    assert (started.returncode, started.stderr) == (0, "")
    saved = console("save", **shell)
    assert saved.stdout == "saved 1 cluster: web\n"
    assert saved.stderr.startswith("launcher: not saved: the values of CANARY; ")
    assert saved.stderr.endswith("--env-file FILE\n")
    assert "secret-value" not in (console.home / ".saved.json").read_text()
    console.ok("delete", "web")
    gone = "launcher: web: started without variables that it had before: CANARY: set them here, or"
    done = console("resurrect")
    assert (done.returncode, done.stderr.startswith(gone)) == (0, True)
    assert "secret-value" not in (console.home / "web" / "variables.json").read_text()
    console.ok("stop", "web")
    assert console("start", "web").stderr == "", "what it ran with the last time is there"
    console.ok("stop", "web")
    assert console("start", "web", CANARY="again").stderr == ""
    console.ok("stop", "web")
    assert console("start", "web").stderr.startswith(gone)
    console.ok("stop", "web")
    console.ok("delete", "web")
    assert not (console.home / "web").exists()


def test_a_start_that_fails_has_not_changed_what_is_missing(console: Console) -> None:
    console.write("needy.py", "import os\nos.environ['NEEDED']\nfrom web import app\n")
    console.ok("start", "needy:app", "-w", "1", *PORT, NEEDED="1")
    console.ok("stop", "needy")
    for _ in range(2):
        done = console("start", "needy")
        assert done.returncode == 1
        assert "needy: started without variables that it had before: NEEDED: " in done.stderr
        assert "KeyError: 'NEEDED'" in done.stderr


def test_an_empty_set_is_saved_only_when_asked_for(console: Console) -> None:
    line = console.refused("save")
    assert line == "no cluster is running: nothing saved (--force saves that)"
    assert console.refused("resurrect") == "nothing was saved: python -m launcher save"
    assert console.ok("save", "--force") == "saved 0 clusters\n"
    assert console.ok("resurrect") == "nothing to do: the saved set is empty\n"


def test_a_damaged_file_is_told_and_the_one_before_is_used(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("save")
    console.ok("scale", "web", "2")
    console.ok("save")
    console.ok("delete", "web")
    path = console.home / ".saved.json"
    path.write_bytes(b"\0" * 500)  # other kinds of damage: tests/state/test_saved.py
    done = console("resurrect")
    assert done.returncode == 0
    assert done.stderr == f"launcher: {path} is damaged: took the set saved before it\n"
    assert len(console.list()["web"]["workers"]) == 1
    # A save now does not put the damaged one in the place of the good one.
    console.ok("save")
    before = json.loads((console.home / ".saved-before.json").read_text())
    assert before["clusters"][0]["wanted"] == 1


def test_nothing_but_damage(console: Console) -> None:
    console.ok("save", "--force")
    path = console.home / ".saved.json"
    path.write_text("{")
    assert console.refused("resurrect") == f"{path} is damaged"


def test_one_that_cannot_start_does_not_hold_up_the_others(console: Console) -> None:
    console.write("blog.py", "from web import app\n")
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("start", "blog:app", "-w", "1", *PORT)
    console.ok("save")
    console.ok("delete", "all")
    console.write("blog.py", "import nowhere\n")
    done = console("resurrect")
    assert done.returncode == 1
    assert done.stdout.startswith("started web ")
    assert "launcher: blog: cannot load 'blog:app'" in done.stderr
    assert list(console.list()) == ["web"]
