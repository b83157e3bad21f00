"""``cluster.toml``: what it says is what runs, and a mistake in it starts nothing."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launcher.config.cluster_toml import ConfigFile, environment
from launcher.config.marks import mark_of, new_mark
from launcher.config.resolve import resolve
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from tests.cli.tools import Console, ask, settled
from tests.support import eventually

TWO = """
[defaults]
workers = 1
port = 0

[defaults.env]
MODE = "plain"
LEVEL = 3

[apps.shop]
app = "web:app"
env = { SECRET = "canary-1" }

[apps.blog]
app = "web:app"
"""


def file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return str(path)


def settings(path: str, **environ: str) -> dict[str, Settings]:
    """What the file makes of each app."""
    sections = ConfigFile.load(path).sections
    return {name: resolve({}, environ, section) for name, section in sections.items()}


# What it says


def test_apps_take_the_defaults_and_have_their_own(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "vars.env").write_text("A=1\n")
    text = """
    [defaults]
    threads = 8
    timeout = 2.5
    max_memory = "300M"
    limit_request_body = "16M"
    preload = false
    env_file = "vars.env"

    [apps.one]
    app = "a:b"
    workers = "auto"
    bind = ["127.0.0.1:1", "unix:one.sock"]
    chdir = "sub"

    [apps.two]
    workers = 3
    threads = 2
    port = 80
    """
    found = settings(file(tmp_path, text))
    one, two = found["one"], found["two"]
    assert (one.app, one.name, one.threads, one.workers) == ("a:b", "one", 8, None)
    assert one.bind == ("127.0.0.1:1", f"unix:{tmp_path}/sub/one.sock")
    assert (one.timeout, one.max_memory, one.preload) == (2.5, 300 << 20, False)
    assert one.limit_request_body == 16 << 20
    assert (one.env_file, one.chdir) == (f"{tmp_path}/vars.env", f"{tmp_path}/sub")
    assert (two.app, two.workers, two.threads, two.wanted) == ("app:create_app()", 3, 2, 3)
    assert (two.bind, two.chdir) == (("127.0.0.1:80",), str(tmp_path))
    assert (two.sizing, two.config) == ("3: cluster.toml", str(tmp_path / "cluster.toml"))
    assert two.sources["threads"] == "cluster.toml"


def test_flags_and_variables_win_over_the_file_and_that_over_the_platform(tmp_path: Path) -> None:
    path = file(tmp_path, "[apps.a]\nthreads = 2\nworkers = 2\nbacklog = 5\n")
    (section,) = ConfigFile.load(path).sections.values()
    environ = {"LAUNCHER_THREADS": "3", "WEB_CONCURRENCY": "9", "PORT": "5000"}
    found = resolve({"backlog": "6"}, environ, section)
    assert (found.threads, found.workers, found.backlog) == (3, 2, 6)
    assert found.bind == ("0.0.0.0:5000",)
    assert found.sources["bind"] == "PORT"


def test_the_environment_of_an_app(tmp_path: Path) -> None:
    path = file(tmp_path, TWO + 'env.MODE = "blog"\n')
    assert environment(path, "shop") == {"MODE": "plain", "LEVEL": "3", "SECRET": "canary-1"}
    assert environment(path, "blog") == {"MODE": "blog", "LEVEL": "3"}
    with pytest.raises(LauncherError, match="has no app 'gone' any more"):
        environment(path, "gone")


def test_settings_hold_no_value_of_the_environment(tmp_path: Path) -> None:
    for found in settings(file(tmp_path, TWO)).values():
        assert "canary" not in repr(found)


def test_a_mark_changes_with_the_variables_only(tmp_path: Path) -> None:
    path = file(tmp_path, TWO)
    (tmp_path / "vars.env").write_text("A=1\n")
    shop = resolve(
        {"env_file": str(tmp_path / "vars.env")}, {}, ConfigFile.load(path).section("shop")
    )
    mark = new_mark(shop)
    salt = mark.partition(":")[0]
    assert "canary" not in mark
    assert new_mark(shop) != mark
    file(tmp_path, "# a comment\n" + TWO.replace("workers = 1", "workers = 2"))
    assert mark_of(shop, salt) == mark
    file(tmp_path, TWO.replace("canary-1", "canary-2"))
    assert mark_of(shop, salt) != mark
    file(tmp_path, TWO)
    (tmp_path / "vars.env").write_text("A=2\n")
    assert mark_of(shop, salt) != mark


# Mistakes

MISTAKES = [
    ("[apps.web]\nthread = 4\n", "2: apps.web.thread: unknown key: did you mean 'threads'?"),
    ("[apps.web]\n\ngraceful-timeout=3", "3: apps.web.graceful-timeout: unknown key: did you mean"),
    ("\n[defaults]\nworker = 4\n", "3: defaults.worker: unknown key: did you mean 'workers'?"),
    ("[defaults]\nxyz = 1\n[apps.a]\n", "2: defaults.xyz: unknown key: possible are access_log,"),
    ("[app.web]\n", "1: app: unknown key: did you mean 'apps'?"),
    ("# x\n\n[shop]\n", "3: shop: unknown key: an app has a table [apps.shop]"),
    ('[apps.web]\nname = "x"\n', "2: apps.web.name: unknown key: the name of an app is that of"),
    ('[apps.web]\nthreads = "4:"\n', "2: apps.web.threads: '4:' is no MIN:MAX of threads"),
    ('[apps.web]\nbacklog = "4"\n', "2: apps.web.backlog: is a string, not a whole number"),
    ("[apps.web]\nthreads = true\n", "2: apps.web.threads: is true or false, not a whole number"),
    ("[apps.web]\nthreads = 4.0\n", "2: apps.web.threads: is a number, not a whole number"),
    ('[apps.web]\ntimeout = "9"\n', "2: apps.web.timeout: is a string, not a number"),
    ("[apps.web]\npreload = 1\n", "2: apps.web.preload: is a number, not true or false"),
    ("[apps.web]\napp = 1\n", "2: apps.web.app: is a number, not a string"),
    ("[apps.web]\nbind = [\n ':1',\n 3,\n]\n", "2: apps.web.bind: is a number, not a string, or a"),
    ("[apps.web]\nbind = []\n", "2: apps.web.bind: '' is empty"),
    ("[apps.web]\nworkers = 1979-05-27\n", "2: apps.web.workers: is a date or time, not a whole"),
    ("[apps.web]\nthreads = 0\n", "2: apps.web.threads: '0' is not a whole number from 1 to 1024"),
    ("[apps.web]\nport=1\nbind=':1'\n", "2: apps.web.port and PATH:3: apps.web.bind: give one"),
    ("[apps.web]\nchdir = '/no'\n", "2: apps.web.chdir: '/no': No such file or directory"),
    ("[apps.web.env]\nA-B = 'x'\n", "2: apps.web.env.A-B: is not the name of a variable"),
    ("[apps.web]\nenv = {A = 1.5}\n", "2: apps.web.env.A: is a number, not a string"),
    ("[apps.web]\nenv = 'A=1'\n", "2: apps.web.env: is a string, not a table"),
    ('[apps.web]\nenv.A = "x\\u0000y"\n', "2: apps.web.env.A: holds a NUL"),
    ("[apps.'a/b']\n", "1: apps.a/b: is not a name: "),
    ("[apps.all]\n", "1: apps.all: means every cluster and cannot be the name of one"),
    ("apps = 3\n", "1: apps: is a number, not a table"),
    ("[[apps]]\n", "1: apps: is a list, not a table"),
    ("[apps]\nweb = 3\n", "2: apps.web: is a number, not a table"),
    ("defaults = 'x'\n", "1: defaults: is a string, not a table"),
    ("[apps.web]\nx = \n", "2: Invalid value"),
    ("[apps.web]\nx = '", "2: "),
    ("[apps.web]\n[apps.web]\n", "2: Cannot declare"),
    (f"[apps.web]\nx = {'[' * 20_000}\n", "2: is nested too deeply"),
    (f"[apps.web]\n\nthreads = {'9' * 5000}\n", "3: a number has too many digits"),
    (f"[apps.web]\nenv.A{'.a' * 1500} = 1\n", "2: apps.web.env.A: is a table, not a string"),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_a_mistake_names_the_file_the_line_and_the_key(
    tmp_path: Path, text: str, told: str
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(LauncherError) as caught:
        settings(path)
    assert str(caught.value).startswith(f"{path}:{told}".replace("PATH", path))
    assert type(caught.value) is LauncherError, "exit 1"


def test_the_line_is_right_behind_everything_that_spans_lines(tmp_path: Path) -> None:
    text = '''
[defaults]
env.A = """
[apps.fake]
threads = "x"
"""   # \u2028 no line ends here
bind = [  # comment
  "127.0.0.1:0",

  "127.0.0.1:0" ]
"threads" = 5
[apps.web]
policy = \'\'\'round-robin\'\'\'
[apps.web.env]
B = "1"
[defaults.env.C]
'''
    with pytest.raises(LauncherError, match=r":16: defaults\.env\.C: is a table, not a string"):
        settings(file(tmp_path, text))


def test_lines_are_looked_for_once_and_only_after_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = tomllib.loads
    read: list[str] = []

    def loads(text: str, **how: Any) -> dict[str, Any]:
        read.append(text)
        return load(text, **how)

    monkeypatch.setattr(tomllib, "loads", loads)
    lines = "a line with [ and ' in it\n" * 2000
    text = f'[apps.web]\nthreads = 2\nenv.A = """\n{lines}"""\nworkers = 1\n'
    settings(file(tmp_path, text))
    assert read == [text]
    with pytest.raises(LauncherError, match=r":2005: apps\.web\.workers: '0' "):
        settings(file(tmp_path, text.replace("= 1", "= 0")))
    assert sum(map(len, read)) <= 3 * len(text)


@pytest.mark.parametrize("content", [b"", b"[apps]\n", b"# nothing\n", b"[defaults]\n"])
def test_a_file_without_apps(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(LauncherError, match="has no apps"):
        settings(str(tmp_path / "c.toml"))


def test_what_is_no_text_or_too_much(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LauncherError, match="is not UTF-8 text"):
        settings(str(path))
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(LauncherError, match="is larger than 256 KiB"):
        settings(str(path))
    with pytest.raises(LauncherError, match="No such file"):
        settings(str(tmp_path / "none.toml"))
    with pytest.raises(LauncherError, match="Is a directory"):
        settings(str(tmp_path))


def test_a_fifo_keeps_nobody_waiting(console: Console) -> None:
    os.mkfifo(console.folder / "fifo")
    os.mkfifo(console.folder / "cluster.toml")
    assert console.refused("start") == "cluster.toml: is no regular file"
    (console.folder / "cluster.toml").unlink()
    line = console.refused("start", "web:app", "--env-file", "fifo")
    assert line == "--env-file: 'fifo': is no regular file"
    console.write("cluster.toml", TWO + 'env_file = "fifo"\n')
    line = console.refused("start")
    assert line.startswith("cluster.toml:16: apps.blog.env_file: '/")
    assert line.endswith("': is no regular file")


# With clusters


def test_a_mistake_starts_nothing(console: Console) -> None:
    console.write("cluster.toml", TWO + "threds = 4\n")
    line = console.refused("start")
    assert line == "cluster.toml:16: apps.blog.threds: unknown key: did you mean 'threads'?"
    assert console.list() == {}


def test_start_converges(console: Console) -> None:
    console.write("cluster.toml", TWO)
    assert console.ok("start").count("started ") == 2
    shop, blog = _ids(console, "shop"), _ids(console, "blog")
    assert console.ok("start").splitlines() == [
        "nothing to do: shop runs already, unchanged",
        "nothing to do: blog runs already, unchanged",
    ]
    # An environment of one app: only that is reloaded.
    console.write("cluster.toml", TWO.replace("canary-1", "canary-2"))
    assert console.ok("start").splitlines() == [
        "reloaded shop: env changed",
        "nothing to do: blog runs already, unchanged",
    ]
    assert (_ids(console, "shop"), _ids(console, "blog")) == ([shop[-1] + 1], blog)
    assert console.ask("shop", "SECRET")["SECRET"] == "canary-2"
    # A number of workers: scaled, nobody is replaced.
    console.write("cluster.toml", TWO.replace("canary-1", "canary-2").replace("= 1", "= 2"))
    assert console.ok("start", "blog") == "scaled blog: 1 to 2 workers\n"
    assert _ids(console, "blog") == [*blog, blog[-1] + 1]
    assert console.list()["blog"]["sizing"] == "2: cluster.toml"
    # A setting that a reload carries.
    console.write("cluster.toml", TWO + "timeout = 7\n")
    assert console.ok("start", "blog").splitlines() == [
        "reloaded blog: timeout changed",
        "scaled blog: 2 to 1 workers",
    ]
    configuration = console.describe("blog")["configuration"]
    assert configuration["timeout"] == {"value": 7.0, "source": "cluster.toml"}
    assert console.ok("start", "blog") == "nothing to do: blog runs already, unchanged\n"
    # A setting that only a start can bring: said, and nothing is done.
    before = _ids(console, "blog")
    console.write("cluster.toml", TWO + "timeout = 8\nthreads = 2\n")
    assert console.refused("start", "blog") == (
        "blog: threads changed: that takes a stop and a start:"
        " python -m launcher stop blog"
        f" && python -m launcher start -c {console.folder / 'cluster.toml'} blog"
    )
    assert _ids(console, "blog") == before
    # What is gone is left alone, and said.
    console.write("cluster.toml", TWO.replace("apps.blog", "apps.news"))
    *_, last = console.ok("start").splitlines()
    assert last == (
        "blog is not in cluster.toml any more and was left running: python -m launcher delete blog"
    )
    assert console.list()["blog"]["status"] == "online"


def test_start_takes_over_no_cluster_of_another_project(console: Console, tmp_path: Path) -> None:
    console.write("cluster.toml", TWO)
    console.ok("start", "shop")
    before = console.describe("shop")
    console.ok("start", "web:app", "-n", "blog", "-w", "1", "-p", "0")
    other = tmp_path / "other"
    other.mkdir()
    (other / "cluster.toml").write_text(TWO)
    (other / "web.py").write_text((console.folder / "web.py").read_text())
    done = console("start", "-c", str(other / "cluster.toml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"launcher: {name}: runs already, in {console.folder}: stop it, or choose another name"
        for name in ("shop", "blog")
    ]
    assert console.describe("shop")["configuration"] == before["configuration"]
    # What was started by hand in this folder may become the file's.
    assert console.ok("start", "blog").startswith("reloaded blog: ")
    # By another path it is still the same file.
    (tmp_path / "link").symlink_to(console.folder)
    line = console.ok("start", "-c", str(tmp_path / "link/cluster.toml"), "shop")
    assert line.startswith("reloaded shop: ")
    # What does not run can be anybody's.
    console.ok("stop", "shop")
    assert console.ok("start", "-c", str(other / "cluster.toml"), "shop").startswith("started ")


def test_an_app_of_the_file_keeps_its_name(console: Console) -> None:
    console.write("cluster.toml", TWO)
    for command in ("start", "run"):
        line = console.refused(command, "shop", "-c", "cluster.toml", "--name", "x", status=2)
        assert line.startswith("--name: cluster 'shop' keeps its name: ")
    assert console.list() == {}
    console.ok("start", "shop", "--name", "shop")


def _ids(console: Console, name: str) -> list[int]:
    return [worker["id"] for worker in console.online(name)]


def test_a_failing_reload_of_one_app_is_told_and_the_others_go_on(console: Console) -> None:
    console.write("cluster.toml", TWO)
    console.ok("start")
    console.write("blog.py", "raise ValueError('on purpose')\n")
    changed = TWO.replace("canary-1", "canary-2") + "timeout = 9\n"
    console.write("cluster.toml", changed.replace('blog]\napp = "web', 'blog]\napp = "blog'))
    done = console("start")
    assert (done.returncode, done.stdout) == (1, "reloaded shop: env changed\n")
    assert done.stderr.splitlines()[-1].startswith("launcher: blog: reload failed: cannot load 'bl")
    assert console.list()["blog"]["app"] == "web:app"


def test_reload_reads_env_and_env_file_again_and_keeps_the_rest(console: Console) -> None:
    console.write("vars.env", "FROM_FILE=1\nBOTH=file\n")
    text = '[apps.shop]\napp = "web:app"\nport = 0\nworkers = 1\nenv_file = "vars.env"\n'
    console.write("cluster.toml", text + 'env = {BOTH = "table", TABLE = "1"}\n')
    console.ok("start", CALLER="1", BOTH="caller")
    names = ("FROM_FILE", "TABLE", "BOTH", "CALLER")
    answer = console.ask("shop", *names)
    assert [answer[name] for name in names] == ["1", "1", "table", "1"]
    console.write("vars.env", "FROM_FILE=2\n")
    changed = text.replace("workers = 1", "workers = 3").replace('"web:app"', '"none:app"')
    console.write("cluster.toml", changed + 'env = {TABLE = "2"}\n')
    console.ok("reload", "shop", CALLER="2")
    answer = console.ask("shop", *names)
    assert [answer[name] for name in names] == ["2", "2", "caller", "1"]
    assert len(_ids(console, "shop")) == 1
    console.write("cluster.toml", text + 'env = {TABLE = "2"}\n')
    assert console.ok("start") == "nothing to do: shop runs already, unchanged\n", (
        "the reload has read it"
    )


def test_a_broken_file_fails_the_reload_and_the_old_workers_go_on(console: Console) -> None:
    console.write("cluster.toml", TWO)
    console.ok("start", "shop")
    console.write("cluster.toml", TWO + "[\n")
    done = console("reload", "shop")
    assert done.returncode == 1
    assert "launcher: reload failed: cannot read the environment: " in done.stderr
    assert "cluster.toml:16: " in done.stderr
    assert console.ask("shop", "SECRET")["SECRET"] == "canary-1"


def test_the_file_is_named_with_an_option_and_apps_with_words(console: Console) -> None:
    (console.folder / "conf").mkdir()
    console.write("conf/my.toml", TWO.replace('app = "web:app"', 'app = "web:app"\nchdir = ".."'))
    assert console.refused("start", "-c", "none.toml") == "none.toml: No such file or directory"
    line = console.refused("start", "web:app", "-c", "conf/my.toml")
    assert line.endswith("conf/my.toml: has no app 'web:app', only: shop, blog")
    assert console.ok("start", "-c", "conf/my.toml", "blog").startswith("started blog ")
    assert console.ok("start", LAUNCHER_CONFIG="conf/my.toml").startswith("started shop ")
    line = console.refused("start", "-c", "conf/my.toml", "-n", "x", status=1)
    assert "has no app 'x'" in line
    console.ok("start", "-c", "conf/my.toml", "-n", "shop")
    line = console.refused("start", "-c", "conf/my.toml", "-p", "1", status=2)
    assert line == "--port is for one cluster, not 2"


def test_a_file_in_a_switched_release_is_the_same_file(console: Console) -> None:
    """``cd current && start``, where ``current`` is a symlink to a release."""
    base = console.folder
    for name, seconds in (("one", 5), ("two", 6)):
        app = f'app = "web:app"\nport = 0\nworkers = 1\ntimeout = {seconds}\n'
        (base / name).mkdir()
        (base / name / "web.py").symlink_to(base / "web.py")
        (base / name / "cluster.toml").write_text(f"[apps.shop]\n{app}")
    current = console.folder = base / "current"
    for name, told in (("one", "started shop"), ("two", "reloaded shop: timeout changed")):
        current.unlink(missing_ok=True)
        current.symlink_to(name)
        assert told in console.ok("start", PWD=str(current))


def test_run_takes_one_app_of_the_file(console: Console) -> None:
    console.write("cluster.toml", TWO)
    line = console.refused("run", "-c", "cluster.toml", status=2)
    assert line.endswith("cluster.toml has several apps, and run is for one: shop, blog")
    running = console.popen("run", "-c", "cluster.toml", "shop")
    try:
        _until_online(console, "shop")
        assert ask(console.list()["shop"]["bind"][0], "SECRET")["SECRET"] == "canary-1"
    finally:
        running.terminate()
        running.communicate(timeout=60)


def _until_online(console: Console, name: str) -> None:

    eventually(lambda: name in console.list())
    settled(console, name, status="online")
