"""Nobody else gets in, nothing planted is followed, nothing secret gets out, nothing hangs."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from launcher.config.settings import Settings
from launcher.control.client import call
from launcher.state.home import Home
from tests.cli.tools import Console, told
from tests.support import eventually

PORT = ("-p", "0")
NOBODY = 65534


# Another user


@pytest.fixture
def public(console: Console) -> Iterator[Console]:
    """A shell whose LAUNCHER_HOME is in a place that everybody can reach."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    console.home = place / "home"
    console.environ["LAUNCHER_HOME"] = str(console.home)
    yield console
    console.close()
    shutil.rmtree(place)


def as_nobody(act: str, path: Path) -> str:
    """What another user gets for ``act`` on a path: "done", or the error's name."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            if act == "connect":
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(str(path))
            elif act == "list":
                os.listdir(path)
            else:
                os.close(os.open(path, os.O_RDONLY if act == "read" else os.O_WRONLY))
            os.write(writing, b"done")
        except OSError as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        return file.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_opens_no_socket_and_reads_no_file(public: Console) -> None:
    public.ok("start", "web:app", "-w", "1", *PORT)
    public.ok("save")
    # Even where a folder above let everybody through, the files themselves do not.
    for folder in (public.home, *[path for path in public.home.rglob("*") if path.is_dir()]):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
        assert as_nobody("list", folder) == "PermissionError"
        folder.chmod(0o711)
    found = [path for path in public.home.rglob("*") if not path.is_dir()]
    assert {path.name for path in found} >= {"control.sock", "lock", "app.json", ".saved.json"}
    for path in found:
        assert path.lstat().st_mode & 0o777 == 0o600, path
        acts = ["connect"] if path.is_socket() else ["read", "write"]
        assert {as_nobody(act, path) for act in acts} == {"PermissionError"}, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_state_folder_of_somebody_else_is_refused(console: Console) -> None:
    console.home.mkdir()
    os.chown(console.home, NOBODY, NOBODY)
    for command in (["list"], ["start", "web:app"], ["stop", "web"], ["save"], ["resurrect"]):
        line = console.refused(*command)
        assert line.startswith(f"{console.home} belongs to user id {NOBODY}, not to you (0): ")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_state_folder_that_others_can_write_is_refused(console: Console, mode: int) -> None:
    console.home.mkdir()
    console.home.chmod(mode)
    if mode & 0o022:
        for command in (["list"], ["start", "web:app"], ["stop", "web"], ["save"]):
            assert console.refused(*command) == (
                f"{console.home} can be written by others: chmod go-w {console.home}"
            )


# Planted symlinks


@pytest.mark.parametrize(
    ("place", "command"),
    [
        (".", ["start", "web:app"]),
        ("web", ["start", "web:app"]),
        ("web/lock", ["start", "web:app"]),
        ("web/control.sock", ["start", "web:app"]),
        ("web/app.json", ["start", "web:app"]),
        ("web/app.json.new", ["start", "web:app"]),
        ("web/logs", ["start", "web:app"]),
        (".saved.json", ["save", "--force"]),
        (".saved.json.new", ["save", "--force"]),
        (".saved-before.json", ["save", "--force"]),
        (".saved-before.json", ["resurrect"]),
        (".saved.json", ["resurrect"]),
        ("web", ["stop", "web"]),
        ("web", ["delete", "web"]),
        ("web", ["describe", "web"]),
    ],
)
def test_a_planted_symlink_is_refused_and_its_target_unchanged(
    console: Console, tmp_path: Path, place: str, command: list[str]
) -> None:
    target = tmp_path / "target"
    if place in (".", "web", "web/logs"):
        target.mkdir(mode=0o700)
        (target / "precious").write_text("as it was")
        (target / "lock").write_text("1 1\n")
        (target / "0.log").write_text("as it was")
    else:
        target.write_text("as it was")
    before = snapshot(target)
    if command[0] == "save":
        console.ok("save", "--force")  # so that this one has a set to put aside
    link = console.home if place == "." else console.home / place
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (link.parent, console.home):
        if folder.exists() and console.home in (folder, *folder.parents):
            folder.chmod(0o700)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    done = console(*command, *(PORT if command[0] == "start" else ()))
    told(done)
    assert snapshot(target) == before


def test_a_planted_fifo_keeps_nobody_waiting(console: Console) -> None:
    console.home.mkdir(mode=0o700)
    for name in (".saved.json", ".saved.json.new"):
        path = console.home / name
        os.mkfifo(path)
        assert console.refused("save", "--force") == f"{path} is no file: remove it"
        path.unlink()


def snapshot(path: Path) -> dict[str, tuple[int, str]]:
    """Everything there, with modes and contents."""
    return {
        str(each): (each.lstat().st_mode, "" if each.is_dir() else each.read_text())
        for each in (path, *path.rglob("*"))
    }


# Secrets


def test_a_value_of_the_environment_is_in_no_output_and_no_file(console: Console) -> None:
    console.write("vars.env", "FROM_FILE=canary-file\n")
    text = '[apps.web]\napp = "web:app"\nport = 0\nworkers = 1\nenv_file = "vars.env"\n'
    config = text + 'env = {TABLE = "canary-table"}\n'
    console.write("cluster.toml", config)
    secret = {"SHELL_VALUE": "canary-shell"}
    outputs = []

    def run(*command: str, **environ: str) -> None:
        done = console(*command, **secret, **environ)
        outputs.append(done.stdout + done.stderr)
        _no_canary_in(console)

    run("start")
    answer = console.ask("web", "FROM_FILE", "TABLE", "SHELL_VALUE")
    assert {str(answer[name])[:6] for name in ("FROM_FILE", "TABLE", "SHELL_VALUE")} == {"canary"}
    run("reload", "--update-env", "web", MORE="canary-more")
    assert console.ask("web", "MORE")["MORE"] == "canary-more"
    for verb in ("status", "describe", "activity"):
        with Home.open({"LAUNCHER_HOME": str(console.home)}) as home:
            outputs.append(json.dumps(call(home, "web", verb, timeout=5)))
    shown = ("list", "list --json", "describe web", "describe web --json", "monit --once")
    for command in (*shown, "logs", "logs --json", "save", "reopen web"):
        run(*command.split())
    run("scale", "web", "2")
    run("start")
    console.write("cluster.toml", config.replace("}", ', "B C" = "canary-mistake"}'))
    run("start")
    console.write("cluster.toml", config.replace('"canary-table"', '["canary-list"]'))
    run("reload", "web")
    console.write("cluster.toml", config.replace("}", ""))
    run("restart", "web")
    console.write("cluster.toml", config)
    run("stop", "web")
    run("resurrect")
    run("start", "nosuch:app", *PORT)
    run("reload", "--update-env", "web", BAD_ONE="canary\x01")
    run("delete", "web")
    assert not [text for text in outputs if "canary" in text]


def _no_canary_in(console: Console) -> None:
    for path in console.home.rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes(), path


# Terminals


CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_nothing_that_an_app_or_a_file_says_can_steer_the_terminal(console: Console) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202eevil\r"
    escaped = evil.encode("unicode_escape").decode()
    console.write("bad.py", f'raise ValueError("{escaped}")\n')
    console.write("ok.py", (console.folder / "web.py").read_text())
    outputs = [console("start", "bad:app", *PORT)]
    console.ok("start", "web:app", "-w", "1", "--chdir", ".", *PORT)
    console.write("web.py", (console.folder / "bad.py").read_text())
    shown = ["list", "list --json", "describe web", "describe web --json"]
    outputs += [
        console(*each.split()) for each in ("reload web", "restart web", *shown, "stop web")
    ]
    app_json = console.home / "web" / "app.json"
    kept = json.loads(app_json.read_text())
    kept |= {"app": evil, "chdir": evil, "policy": evil, "sizing": evil, "bind": [evil]}
    app_json.write_text(json.dumps(kept))
    (console.home / f"web{evil}").mkdir()
    outputs += [console(*each.split()) for each in shown]
    words = ["stop @", "start @", "describe @", "scale web @", "signal web @", "start web -n @"]
    for words_of_one in (each.split() for each in [*words, "@", "list --@"]):
        outputs.append(console(*(word.replace("@", evil) for word in words_of_one)))
    escapes = "".join(f"\\u{ord(each):04x}" for each in evil)
    console.write("cluster.toml", f'[apps."{escapes}"]\n')
    outputs.append(console("start"))
    (console.folder / "cluster.toml").unlink()
    with tempfile.TemporaryDirectory() as short:  # sun_path is: unix(7)
        outputs.append(console("start", "ok:app", "-w", "1", "-b", f"unix:{short}/{evil}.sock"))
    config = console.write(f"{evil}.toml", '[apps.old]\napp = "ok:app"\nport = 0\nworkers = 1\n')
    outputs.append(console("start", "-c", config.name))
    config.write_text(config.read_text().replace("old", "new"))
    outputs.append(console("start", "-c", config.name))
    assert [done.stdout.count("owned") for done in outputs[-3:]] == [1, 0, 1], "control samples"
    assert any("owned" in done.stderr for done in outputs), "the control sample"
    for done in outputs:
        assert not CONTROLS.search(done.stdout + done.stderr), done


CHATTY = """
import os, time

TOLD = ("PATH_INFO", "HTTP_USER_AGENT", "HTTP_REFERER", "HTTP_X_FORWARDED_FOR")

def app(environ, start_response):
    print("said by the app:", *[environ.get(name) for name in TOLD])
    while environ["PATH_INFO"].startswith("/wait") and not os.path.exists("go"):
        time.sleep(0.005)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_nothing_that_a_client_sends_can_either(console: Console) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\r\u2066"
    shy = "\x9b31m\u202e\u2066"  # what gunicorn lets through in a field
    target = f"{quote(evil)}in-path?{quote(evil)}in-query"
    user = base64.b64encode(f"{evil}as-user:x".encode()).decode()
    fields = [
        f"User-Agent: {shy}as-agent",
        f"Referer: {shy}as-referer",
        f"X-Forwarded-For: {shy}as-forwarded",
        f"Authorization: Basic {user}",
    ]
    requests = [
        *(f"GET /{target} HTTP/1.1\r\nHost: x\r\n{field}" for field in fields),
        f"GET /{evil} HTTP/1.1\r\nHost: x",
        f"GET / HTTP/1.1\r\nHost: x\r\nX{evil}: y",
    ]
    console.write("web.py", CHATTY)
    console.ok("start", "web:app", "-w", "1", "--access-log", *PORT)
    host, _, port = console.list()["web"]["bind"][0].rpartition(":")
    for request in requests:
        with socket.create_connection((host, int(port)), 30) as client:
            client.sendall(f"{request}\r\nConnection: close\r\n\r\n".encode())
            while client.recv(65536):
                pass
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(f"GET /wait{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: "GET /wait" in console.ok("monit", "--once"))
        shown = ["list", "describe web", "logs -n 99", "monit --once", "monit web --once"]
        shown += ["list --json", "describe web --json", "logs --json -n 99"]
        outputs = {each: console(*each.split()) for each in shown}
        (console.folder / "go").touch()
        assert client.recv(65536)
    # The control samples: it is in the file as it was sent, and all of it was to be shown.
    assert b"\x1b]0;owned\x07" in (console.home / "web" / "logs" / "0.log").read_bytes()
    places = ["in-path", "in-query", "as-agent", "as-referer", "as-forwarded", "as-user"]
    assert [each for each in places if each not in outputs["logs -n 99"].stdout] == []
    for command, done in outputs.items():
        assert (done.returncode, done.stderr) == (0, ""), command
        assert not CONTROLS.search(done.stdout), (command, done)


# Primaries that do not answer


def test_every_command_ends_within_its_deadline_when_the_primary_is_stopped(
    console: Console,
) -> None:
    console.write("cluster.toml", '[apps.shop]\napp = "web:app"\nport = 0\nworkers = 1\n')
    console.ok("start")
    pid = console.primary("shop")
    assert pid
    os.kill(pid, signal.SIGSTOP)
    silent = f"cluster 'shop' (pid {pid}) does not answer within 5 s"
    silent += f": it was stopped by a signal: kill -CONT {pid}"
    commands = ["start", "reload shop", "restart shop", "scale shop 2", "reset shop"]
    commands += ["signal shop USR2", "stop shop", "delete shop", "reopen shop"]
    begun = time.monotonic()
    running = {command: console.popen(*command.split()) for command in commands}
    others = ("describe shop", "list", "save", "logs shop", "monit shop --once")
    quick = {each: console.popen(*each.split()) for each in others}
    running_one = console.popen("start", "web:app", "-n", "shop")
    ended = {name: _end(each) for name, each in running.items()}
    rest = {name: _end(each) for name, each in quick.items()}
    assert console.ok("flush", "shop") == "flushed shop\n"
    assert "is already running" in running_one.communicate(timeout=60)[1]
    took = time.monotonic() - begun
    # Those that gave up are not served any more.
    os.kill(pid, signal.SIGCONT)
    failed = (f"launcher: {silent}\n", 1)
    assert {name: (err, status) for name, (_, err, status) in ended.items()} == dict.fromkeys(
        commands, failed
    )
    for command in ("describe shop", "monit shop --once"):
        assert rest[command][2] == 1
        assert "does not answer within 2 s" in rest[command][1]
    assert "'shop' is ready" in rest["logs shop"][0]
    assert rest["list"][2] == 0
    assert "error: cluster 'shop'" in rest["list"][0]
    assert (rest["save"][0], rest["save"][2]) == ("saved 1 cluster: shop\n", 0)
    assert took < 40, "all of them at once, on a busy machine"
    assert console.list()["shop"]["status"] == "online"


def test_every_command_tells_that_a_cluster_does_not_run(console: Console) -> None:
    with Home.open(console.environ) as home, home.claim("web") as folder:
        folder.write_app_json(Settings(name="web").to_json())
    console.write("web.py", "import nowhere\n")
    told = "cluster 'web' is not running"
    hint = "start it: python -m launcher start web"
    for command in ("reload", "restart", "reset", "reopen", "scale", "signal"):
        more = {"scale": ["2"], "signal": ["USR2"]}.get(command, [])
        assert console.refused(command, "web", *more) == f"{told}: {hint}"
    assert console.ok("stop", "web") == f"nothing to do: {told}\n"
    assert console.refused("logs", "web") == "no log files: web"
    assert console.refused("flush", "web") == "no log files: web"
    assert console.refused("save") == "no cluster is running: nothing saved (--force saves that)"
    for shown in ("list", "describe web", "monit web --once"):
        assert "stopped" in console.ok(*shown.split())
    assert console.ok("delete", "web") == "deleted web\n"


def _end(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    out, err = process.communicate(timeout=60)
    return out, err, process.returncode
