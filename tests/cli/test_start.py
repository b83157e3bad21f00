"""``start``: in the background, ready when it returns, and exactly one of each name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.config.settings import Settings
from launcher.state.home import Home
from tests.cli.tools import Console, ask
from tests.support import alive, eventually, sized

PORT = ("-p", "0")


def test_it_returns_when_the_cluster_is_ready_and_detached(console: Console) -> None:
    line = console.ok("start", "web:app", "-w", "2", *PORT)
    (status,) = json.loads(console.ok("list", "--json"))
    assert line == f"started web (pid {status['pid']}): http://{status['bind'][0]}, 2 workers\n"
    assert [worker["status"] for worker in status["workers"]] == ["online", "online"]
    assert ask(status["bind"][0])["id"] in (1, 2)
    assert os.getsid(status["pid"]) == status["pid"]
    assert os.readlink(f"/proc/{status['pid']}/cwd") == "/"
    assert os.readlink(f"/proc/{status['pid']}/fd/0") == "/dev/null"


def test_a_slow_app_is_launching_meanwhile(console: Console) -> None:
    console.write(
        "slow.py",
        "import os, time, web\nwhile not os.path.exists('go'):\n time.sleep(.01)\napp = web.app\n",
    )
    begun = console.popen("start", "slow:app", *PORT)
    eventually(lambda: console.list()["slow"]["status"] == "launching")
    assert begun.poll() is None
    console.write("go", "")
    assert begun.communicate(timeout=20)[0].startswith("started slow (pid ")
    assert begun.returncode == 0
    assert console.list()["slow"]["status"] == "online"


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("import nowhere\n", (), "cannot load 'bad:app': No module named 'nowhere'"),
        ("syntax error(\n", (), "cannot load 'bad:app': SyntaxError: "),
        ("raise SystemExit(0)\n", (), "cannot load 'bad:app': it called sys.exit(0)"),
        ("other = 1\n", (), "cannot load 'bad:app': "),
        ("import os; os._exit(1)\n", (), "the pool exited with status 1 while the app was being"),
        (
            "import time; time.sleep(60)\n",
            ("--boot-timeout", "0.5"),
            "the app was not loaded within 0.5 s",
        ),
        ("import web; app = web.app\n", ("--health-path", "/"), ""),
        ("def app(e, s):\n s('500 no', [])\n return []\n", ("--health-path", "/x"), "worker 1 "),
    ],
)  # fmt: skip
def test_what_cannot_start_leaves_nothing(
    console: Console, text: str, options: tuple[str, ...], reason: str
) -> None:
    console.write("bad.py", text)
    done = console("start", "bad:app", "-w", "1", *PORT, *options)
    if not reason:  # the control sample: healthy
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stdout) == (1, "")
    *detail, line = done.stderr.splitlines()
    assert line.startswith(f"launcher: {reason}")
    assert not any("gunicorn" in each for each in detail)
    assert list(console.home.iterdir()) == []


def test_the_traceback_of_the_app_is_shown(console: Console) -> None:
    console.write("bad.py", "def f():\n    raise ValueError('on purpose \\x1b[2J')\nf()\n")
    done = console("start", "bad:app", *PORT)
    assert "    raise ValueError('on purpose \\x1b[2J')" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("launcher: cannot load 'bad:app': ValueError")


def test_an_interrupted_start_leaves_nothing(console: Console) -> None:
    console.write("slow.py", "import time\ntime.sleep(60)\n")
    begun = console.popen("start", "slow:app", *PORT)
    pid = eventually(lambda: console.primary("slow"))
    begun.send_signal(signal.SIGINT)
    assert begun.communicate(timeout=20)[1] == "launcher: interrupted\n"
    assert begun.returncode == 130
    assert not alive(pid)
    assert list(console.home.iterdir()) == []


def test_one_that_has_to_be_killed_leaves_all_as_it_was(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("stop", "web")
    before = console.describe("web")["configuration"]
    console.write("web.py", "import time\ntime.sleep(60)\n")
    begun = [console.popen("start", "web", "-w", "3")]
    begun += [console.popen("start", "web:app", "-n", "new", *PORT)]
    for name in ("web", "new"):
        eventually(lambda name=name: console.list()[name]["status"] == "launching")  # type: ignore[misc]
        pid = console.primary(name)
        assert pid
        os.kill(pid, signal.SIGSTOP)
    for each in begun:
        each.send_signal(signal.SIGINT)
    for each in begun:
        assert each.communicate(timeout=30)[1] == "launcher: interrupted\n"
        assert each.returncode == 130
    assert [path.name for path in console.home.iterdir()] == ["web"]
    assert console.describe("web")["configuration"] == before


def test_a_port_in_use(console: Console) -> None:
    console.ok("start", "web:app", *PORT)
    address = console.list()["web"]["bind"][0]
    line = console.refused("start", "web:app", "-n", "other", "-b", address)
    assert line.startswith(f"cannot listen on {address}: it is in use")
    assert [path.name for path in console.home.iterdir()] == ["web"]


def test_a_stopped_cluster_is_started_by_name_as_it_was(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", "-n", "shop", *PORT)
    console.ok("scale", "shop", "3")
    assert console.ok("stop", "shop") == "stopped shop\n"
    assert console.list()["shop"]["status"] == "stopped"
    assert "3 workers" in console.ok("start", "shop")
    console.ok("stop", "shop")
    assert "2 workers" in console.ok("start", "shop", "-w", "2", "--threads", "2")
    assert console.describe("shop")["configuration"]["threads"] == {
        "value": 2,
        "source": "--threads",
    }


def test_a_stopped_cluster_keeps_its_name(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("stop", "web")
    line = console.refused("start", "web", "--name", "other", status=2)
    assert line == (
        "--name: cluster 'web' keeps its name: leave the option out,"
        " or name the app of a new cluster: module:attribute"
    )
    console.ok("start", "web", "--name", "web", LAUNCHER_NAME="other")


def test_a_stopped_cluster_needs_no_folder_but_its_own(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("stop", "web")
    gone = console.folder.parent / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m launcher start web"
    done = subprocess.run(
        ["sh", "-c", script], env=console.environ, capture_output=True, text=True, timeout=90
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert console.ask("web")["id"] == 1
    console.ok("stop", "web")
    (console.folder / "sub").mkdir()
    console.folder = console.folder / "sub"
    console.ok("start", "web", "-b", "unix:web.sock")
    (address,) = console.list()["web"]["bind"]
    assert address == f"unix:{console.folder.parent}/web.sock"


@pytest.mark.parametrize(("key", "value"), [("bind", ["junk"]), ("threads", 0), ("wanted", 10**9)])
def test_a_damaged_app_json_is_named(console: Console, key: str, value: object) -> None:
    with Home.open(console.environ) as home, home.claim("web") as folder:
        folder.write_app_json(Settings(name="web").to_json() | {key: value})
    line = console.refused("start", "web")
    assert line.startswith(f"{console.home}/web/app.json: settings ")
    assert line.endswith(repr(key))


def test_a_descriptor_that_is_not_open(console: Console) -> None:
    line = console.refused("start", "web:app", "-b", "fd://77")
    assert line.startswith("cannot listen on fd://77: descriptor 77 is not open: pass a socket")
    assert list(console.home.iterdir()) == []


def test_a_stopped_cluster_that_cannot_start_stays_as_it_was(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("stop", "web")
    before = (console.home / "web" / "app.json").read_text()
    console.write("web.py", "import nowhere\n")
    done = console("start", "web", "-w", "3")
    assert done.returncode == 1
    assert console.list()["web"]["status"] == "stopped"
    assert (console.home / "web" / "app.json").read_text() == before


def test_several_and_all(console: Console) -> None:
    console.write("blog.py", "from web import app\n")
    done = console("start", "web:app", "blog:app", "nosuch:app", *PORT)
    assert done.returncode == 2, "one port for three"
    for app in ("web:app", "blog:app"):
        console.ok("start", app, *PORT)
    console.ok("stop", "web", "blog")
    assert console.ok("start", "all").count("started ") == 2
    assert console.ok("start", "all") == "nothing to do: no cluster is stopped\n"
    line = console.refused("start", "web")
    assert line.startswith("cluster 'web' is already running (pid ")
    console.ok("delete", "all")
    assert console.list() == {}
    assert list(console.home.iterdir()) == []


@pytest.mark.parametrize("text", ["", "many"])
def test_a_number_of_workers_in_the_environment_that_is_not_asked_for(
    console: Console, text: str
) -> None:
    """gunicorn would fail over it as it is imported; to the app it may mean something."""
    console.ok("start", "web:app", "-w", "1", *PORT, WEB_CONCURRENCY=text)
    assert console.ask("web", "WEB_CONCURRENCY")["WEB_CONCURRENCY"] == text


def test_two_apps_cannot_share_an_address(console: Console) -> None:
    console.write("blog.py", "from web import app\n")
    line = console.refused("start", "web:app", "blog:app")
    assert line == "'web' and 'blog' both listen on 127.0.0.1:3000"
    assert console.list() == {}


def race(console: Console, count: int) -> list[tuple[str, str, int]]:
    """What becomes of so many ``start``s of one name at once; each has another backlog."""
    options = [("-w", "1", "--backlog", str(100 + number), *PORT) for number in range(count)]
    racing = [console.popen("start", "web:app", *each) for each in options]
    return [(*process.communicate(timeout=60), process.returncode) for process in racing]


def lost(out: str, err: str, status: int) -> bool:
    """Whether it is a ``start`` that another one came before, and says so."""
    told = err.startswith("launcher: cluster 'web' is already running (pid ")
    return (out, told, status) == ("", True, 1)


def test_of_racing_starts_exactly_one_wins(console: Console) -> None:
    for _ in range(sized(8, 20)):
        ended = race(console, 5)
        ((winner, (out, err, status)),) = [
            (number, each) for number, each in enumerate(ended) if not lost(*each)
        ]
        assert (err, status) == ("", 0)
        assert out.startswith(f"started web (pid {console.primary('web')})")
        # Its own settings, and a socket that answers: no loser has put its files there.
        assert json.loads((console.home / "web" / "app.json").read_text())["backlog"] == (
            100 + winner
        )
        assert console.ok("delete", "web") == "deleted web\n"


def test_starts_that_come_too_late_touch_no_file(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    before = files(console.home)
    assert {"lock", "app.json", "control.sock", "primary.log", "0.log"} <= {
        Path(path).name for path in before
    }
    assert all(lost(*each) for each in race(console, 3))
    assert files(console.home) == before
    assert console.ask("web")["id"] == 1


def files(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything there: which file it is, when it was changed last, what is in it."""
    return {
        str(path): (status.st_ino, status.st_mtime_ns, status.st_mode, content(path))
        for path in folder.rglob("*")
        for status in (path.lstat(),)
    }


def content(path: Path) -> bytes:
    """What is in a file; nothing is in a folder or a socket."""
    return path.read_bytes() if path.is_file() else b""


def test_a_stale_folder_whose_pid_is_somebody_elses(console: Console) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        folder = console.home / "web"
        folder.mkdir(mode=0o700, parents=True)
        console.home.chmod(0o700)
        (folder / "lock").write_text(f"{other.pid} 1\n")
        assert console.ok("stop", "web") == "nothing to do: cluster 'web' is not running\n"
        assert console.list()["web"]["status"] == "stopped"
        console.ok("start", "web:app", *PORT)
        console.ok("delete", "web")
        folder.mkdir(mode=0o700)
        (folder / "lock").write_text(f"{other.pid} 1\n")
        console.ok("delete", "web")
        assert other.poll() is None
        other.kill()


def test_the_end_of_a_background_primary_keeps_its_entry(console: Console) -> None:
    console.ok("start", "web:app", *PORT)
    pid = console.primary("web")
    assert pid
    os.kill(pid, signal.SIGTERM)  # as at the end of the machine
    eventually(lambda: not alive(pid))
    assert console.list()["web"]["status"] == "stopped"
    console.ok("start", "web")


def test_a_start_is_quick(console: Console) -> None:
    begun = time.monotonic()
    console.ok("start", "web:app", "-w", "1", *PORT)
    assert time.monotonic() - begun < 10


def test_the_folder_that_it_was_started_in_may_go(console: Console, tmp_path: Path) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    for path in console.folder.iterdir():
        if path.is_file():
            path.unlink()
    assert console.ask("web")["id"] == 1
