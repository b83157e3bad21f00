"""The command line as a user meets it: a line on stderr, an exit status, never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher import __version__
from launcher.cli import in_one_line, main, require_platform
from launcher.cli.asking.facts import stopped
from launcher.cli.asking.parallel import in_parallel
from launcher.cli.commands import COMMANDS, MEANT
from launcher.cli.root import _no_such_command
from launcher.cli.text import printable, show_count, show_duration, show_size, table
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.home import Entry, Home
from tests.support import alive, eventually

ROOT = Path(__file__).parent.parent.parent

PRIMARY = """
import os, signal, sys
from launcher.control.protocol import encode, ok, parse_request
from launcher.state.home import Home
from launcher.config.settings import Settings
with Home.open() as home, home.claim(sys.argv[1]) as folder:
    with folder.bind_control_socket() as listener:
        folder.write_app_json(Settings(name=sys.argv[1], wanted=2, sizing="2: so").to_json())
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            verb = parse_request(connection.recv(65536)).verb
            status = eval(sys.argv[2])
            described = {
                "status": status, "settings": {}, "mark": "", "requests_per_second": 3.25,
                "worker_rates": {}, "last_exits": [],
            }
            result = {"status": status, "describe": described}.get(verb) or eval(sys.argv[3])
            connection.sendall(encode(ok(result)))
            if verb == "stop":
                if result.get("lingers"):
                    signal.pause()
                break
"""
STOP = '{"pid": os.getpid(), "deadline": 20}'


class Shell:
    """Runs the command line in a folder of its own, with a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "LAUNCHER_HOME": str(self.home),
        }

    def __call__(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def refuses(self, *arguments: str, status: int, **environ: str) -> str:
        """The line with which a command fails."""
        done = self(*arguments, **environ)
        assert done.stdout == ""
        assert re.fullmatch(r"launcher: [^\n]+\n", done.stderr)
        assert "Traceback" not in done.stderr
        assert done.returncode == status
        return done.stderr.removeprefix("launcher: ").rstrip("\n")

    @contextmanager
    def cluster(self, name: str, status: object = None, stop: str = STOP) -> Iterator[int]:
        """A stand-in for a primary, which answers with these Python expressions."""
        command = [sys.executable, "-c", PRIMARY, name, repr(status), stop]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=self.environ, stdout=pipe, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "listening\n"
                yield process.pid
            finally:
                process.kill()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def status_of(name: str, **changes: Any) -> dict[str, Any]:
    """What a healthy primary answers."""
    worker = {
        "id": 4,
        "slot": 0,
        "pid": 4250,
        "generation": 2,
        "status": "online",
        "uptime": 3.2,
        "requests": 600,
        "active": 1,
        "streaming": 0,
        "threads": 4,
        "threads_max": 64,
        "connections": 2,
        "rss": 30 << 20,
        "cpu": 1.5,
    }
    settings = Settings(name=name, wanted=2, sizing="2: so").to_json()
    return stopped(Entry(name, None, settings)) | {
        "status": "online",
        "pid": 4242,
        "uptime": 12.3,
        "requests": 1200,
        "restarts": {
            "crash": 1,
            "timeout": 0,
            "memory": 0,
            "recycle": 0,
            "reload": 2,
            "restart": 0,
        },
        "workers": [worker, {**worker, "id": 5, "slot": 1, "status": "launching"}],
        **changes,
    }


# Help and version


EVERYWHERE = [[], *([name] for name in COMMANDS)]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere_with_an_example(
    flag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    subtests: pytest.Subtests,
) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COLUMNS", raising=False)
    for command in [*EVERYWHERE, ["ls"], ["status"]]:
        with subtests.test(" ".join(command)):
            assert main([*command, flag]) == 0
            out, err = capsys.readouterr()
            assert err == ""
            assert "python -m launcher" in out.partition("\n")[2]
            assert max(map(len, out.splitlines())) <= 80
    assert not (tmp_path / "home").exists()


def test_the_version_is_everywhere(
    capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    for command in EVERYWHERE:
        with subtests.test(" ".join(command)):
            assert main([*command, "--version"]) == 0
            assert capsys.readouterr() == (f"launcher {__version__}\n", "")


def test_help_and_version_of_the_program(shell: Shell) -> None:
    done = shell("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"launcher {__version__}\n", "")
    assert shell("--help").stdout.startswith("Usage: python -m launcher ")


def test_an_option_without_a_command_is_one_of_run(shell: Shell) -> None:
    assert "[APP]" in shell("-w", "4", "--help").stdout


def test_the_light_commands_load_nothing_heavy(shell: Shell) -> None:
    program = (
        "import sys; from launcher.cli import main; main(['--help']); main(['list']);"
        "print([name for name in ('gunicorn', 'flask', 'rich', 'psutil', 'launcher.primary')"
        " if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=shell.environ, cwd=shell.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n[]\n")


# Usage errors


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["myapp:app"],
            "no such command 'myapp:app'; to run an app: python -m launcher run myapp:app",
        ),
        (["lst"], "no such command 'lst'; did you mean 'list'?"),
        (["jlist"], "no such command 'jlist'; here it is: python -m launcher list --json"),
        (["startup"], "no such command 'startup'; here it is: python -m launcher export systemd"),
        (["kill"], "no such command 'kill'; here it is: python -m launcher stop all"),
        (["init"], "no such command 'init'; here it is: python -m launcher start, with a cluster"),
        (["start", "my:app", "-i", "max"], "no such option '-i'; here it is: -w N, or -w auto"),
        (["-i4"], "no such option '-i'; here it is: -w N, or -w auto"),
        (["-w", "4", "my:app"], "the command comes first: python -m launcher run my:app ..."),
        (["-w", "4", "list"], "the command comes first: python -m launcher list ..."),
        (["--worker", "4"], "No such option '--worker'. "),
        (["-w"], "Option '-w' requires an argument."),
        (["-w", "0"], "--workers: '0' is not a whole number from 1 to 512, nor auto"),
        (["--workers", "-1"], "--workers: '-1' is not a whole number from 1 to 512, nor auto"),
        (["run", "-w", "abc"], "--workers: 'abc' is not a whole number from 1 to 512, nor auto"),
        (["-b", "nonsense:x"], "--bind: 'nonsense:x' has a port that is not a whole number"),
        (["-p", "70000"], "--port: '70000' is not a whole number from 0 to 65535"),
        (["-n", "a/b"], "--name: 'a/b' is not a name"),
        (["-n", ".."], "--name: '..' is not a name"),
        (["-n", "a" * 300], "--name: 'aaa"),
        (["run", "a:b", "c:d"], "Got unexpected extra argument (c:d)"),
        (["run", "a\nb"], r"APP: 'a\nb' is not module:attribute"),
        (["--policy", "\x1b[2J"], r"--policy: '\x1b[2J' is none of"),
        (["--no\x1b[2J\n"], r"No such option '--no\x1b[2J\n'"),
        (["list", "x"], "Got unexpected extra argument (x)"),
        (["stop"], "Missing argument 'NAME...|all'."),
        (["stop", "../x"], "'../x' is not a name"),
        (["stop", "web", "all"], "'all' stands alone"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(
    shell: Shell, arguments: list[str], line: str
) -> None:
    assert shell.refuses(*arguments, status=2).startswith(line)
    assert not shell.home.exists()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("WEB_CONCURRENCY", "abc"),
        ("PORT", "70000"),
        ("LAUNCHER_THREADS", "0"),
        ("LAUNCHER_NAME", "../x"),
        ("LAUNCHER_GRACEFUL_TIMEOUT", "nan"),
    ],
)
def test_a_wrong_variable_is_named(shell: Shell, variable: str, text: str) -> None:
    assert shell.refuses(status=2, **{variable: text}).startswith(f"{variable}: '{text}' ")


# Failures


def test_a_folder_that_is_none(shell: Shell) -> None:
    line = shell.refuses("--chdir", "/nowhere", status=1)
    assert line == "--chdir: '/nowhere': No such file or directory"


@pytest.mark.parametrize("command", [["run"], ["list"], ["stop", "x"]])
def test_a_state_folder_that_is_not_ours_alone(shell: Shell, command: list[str]) -> None:
    shell.home.mkdir()
    shell.home.chmod(0o777)
    assert shell.refuses(*command, status=1).endswith(f"chmod go-w {shell.home}")


def test_a_state_folder_that_cannot_be_made(shell: Shell) -> None:
    line = shell.refuses("run", status=1, LAUNCHER_HOME="/proc/home")
    assert line.startswith("/proc/home: ")


def test_a_name_that_runs_already(shell: Shell) -> None:
    with shell.cluster("app") as pid:
        line = shell.refuses("run", status=1)
    assert line.startswith(f"cluster 'app' is already running (pid {pid}): choose another --name")


@pytest.mark.parametrize("command", ["list", "--help"])
def test_a_full_disk_is_told(shell: Shell, command: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "launcher", command],
            env=shell.environ,
            cwd=shell.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "launcher: No space left on device\n")


def test_a_reader_that_went_away_is_none_of_our_business(shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "--help"],
        env=shell.environ,
        cwd=shell.folder,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", ["list", "monit --once", "--version"])
def test_without_stdout_it_works_all_the_same(shell: Shell, command: str) -> None:
    done = in_a_shell(shell, f"{command} >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("stderr", ["&-", "/dev/full"])
@pytest.mark.parametrize(("command", "status"), [("nonsense", 2), ("stop web", 1)])
def test_an_error_that_nobody_can_be_told_of(
    shell: Shell, command: str, status: int, stderr: str
) -> None:
    done = in_a_shell(shell, f"{command} 2>{stderr}")
    assert (done.returncode, done.stdout) == (status, "")


def in_a_shell(shell: Shell, words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line, with its redirections."""
    return subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m launcher {words}"],
        env=shell.environ,
        cwd=shell.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


INTERRUPTED = """
import os, pathlib, signal
children = pathlib.Path("/proc/self/task", str(os.getpid()), "children").read_text()
pathlib.Path("children").write_text(children)
os.kill(os.getpid(), signal.SIGINT)
"""
"""In the place of click: a Ctrl-C while the first thing is imported that takes time."""


@pytest.mark.parametrize("command", ["list", "run"])
def test_an_interrupt_before_anything_is_there(shell: Shell, command: str) -> None:
    (shell.folder / "click.py").write_text(INTERRUPTED)
    # The pool may warn of what it leaves to the kernel as it ends.
    done = shell(command, PYTHONPATH=f"{shell.folder}:{ROOT}", PYTHONWARNINGS="")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    pools = [int(pid) for pid in (shell.folder / "children").read_text().split()]
    assert len(pools) == (command == "run")
    eventually(lambda: not any(map(alive, pools)))


def test_an_interrupt_that_is_to_be_ignored_is(shell: Shell) -> None:
    (shell.folder / "click.py").write_text(INTERRUPTED + "raise ImportError('went on')\n")
    program = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    program += "os.execv(sys.executable, [sys.executable, '-m', 'launcher', 'list'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=shell.environ | {"PYTHONPATH": f"{shell.folder}:{ROOT}"},
        cwd=shell.folder,
        capture_output=True,
        text=True,
    )
    assert done.stderr.endswith("ImportError: went on\n")


@pytest.mark.parametrize(("name", "has_epoll"), [("darwin", False), ("linux", False)])
def test_another_platform_is_told_at_once(name: str, has_epoll: bool) -> None:
    with pytest.raises(LauncherError, match=f"^needs Linux with epoll; this is {name}$"):
        require_platform(name, has_epoll)
    require_platform("linux", True)


def test_an_unforeseen_error_names_its_file() -> None:
    assert in_one_line(FileNotFoundError(2, "No such file", "/x")) == "/x: No such file"
    assert in_one_line(TimeoutError()) == "TimeoutError"


# list


def test_no_clusters(shell: Shell) -> None:
    assert shell("list").stdout == "no clusters; start one: python -m launcher start\n"
    assert json.loads(shell("ls", "--json").stdout) == []
    assert not shell.home.exists()


def test_the_json_is_what_the_primary_says(shell: Shell) -> None:
    status = status_of("web")
    with shell.cluster("web", status):
        assert json.loads(shell("list", "--json").stdout) == [status]


def test_a_dead_cluster_is_shown_as_stopped_with_the_same_keys(shell: Shell) -> None:
    with shell.cluster("web") as pid:
        pass
    (found,) = json.loads(shell("status", "--json").stdout)
    assert found.keys() == status_of("web").keys()
    assert (found["name"], found["status"], found["pid"]) == ("web", "stopped", None)
    assert (found["workers"], found["error"]) == ([], f"its primary (pid {pid}) died")
    assert (found["workers_wanted"], found["sizing"]) == (2, "2: so")
    done = shell("describe", "web")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  error       its primary (pid {pid}) died\n" in done.stdout
    assert "  workers     0 of 2 ready" in done.stdout


def test_what_was_stopped_in_order_has_no_error(shell: Shell) -> None:
    with shell.cluster("web"):
        assert shell("stop", "web").returncode == 0
    (found,) = json.loads(shell("list", "--json").stdout)
    assert (found["status"], found["error"]) == ("stopped", None)


def test_the_table(shell: Shell) -> None:
    with ExitStack() as running:
        running.enter_context(shell.cluster("blog", status_of("blog", error="app\nfails\x1b[2J")))
        running.enter_context(shell.cluster("web", status_of("web")))
        with shell.cluster("old") as pid:
            pass
        lines = shell("list").stdout.splitlines()
    assert lines == [
        "name  status   workers   pid  uptime  crash/reload  cpu  memory  req/s",
        "blog  online       1/2  4242     12s           1/2   3%   60.0M    3.2",
        "  error: app\\nfails\\x1b[2J",
        "old   stopped      0/2     -       -             -    -       -      -",
        f"  error: its primary (pid {pid}) died",
        "web   online       1/2  4242     12s           1/2   3%   60.0M    3.2",
    ]


def test_silent_and_senseless_primaries_are_errored_and_hold_nobody_up(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", str(shell.home))
    monkeypatch.setattr("launcher.cli.asking.facts.ANSWER_WITHIN", 0.2)
    with ExitStack() as running:
        running.enter_context(shell.cluster("web", status_of("web")))
        running.enter_context(shell.cluster("odd", {"name": "odd"}))
        pids = [running.enter_context(shell.cluster(f"hung{i}")) for i in range(3)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        assert main(["list", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["web"]["status"] == "online"
    assert (found["odd"]["status"], "version" in found["odd"]["error"]) == ("errored", True)
    for i, pid in enumerate(pids):
        entry = found[f"hung{i}"]
        assert (entry["status"], entry["pid"]) == ("errored", pid)
        silent = f"cluster 'hung{i}' (pid {pid}) does not answer within 0.2 s"
        assert entry["error"] == f"{silent}: it was stopped by a signal: kill -CONT {pid}"


def test_what_a_silent_primary_does_not_tell_is_not_made_up(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", str(shell.home))
    monkeypatch.setattr("launcher.cli.asking.facts.ANSWER_WITHIN", 0.2)
    with shell.cluster("web", status_of("web")) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert main(["list"]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        assert row.split() == ["web", "errored", "?/2", str(pid), *["-"] * 5]
        assert main(["describe", "web"]) == 1
        out, err = capsys.readouterr()
    assert "does not answer within 0.2 s" in err
    assert out.startswith(f"web: errored, pid {pid}\n")
    summary = out.partition("\nsettings ")[0]
    told = dict(re.findall(r"^  (\w+) {2,}(.*)", summary, re.MULTILINE))
    assert told["workers"] == "? of 2 ready (2: so)"
    assert not {"requests", "connections", "restarts", "generation"} & told.keys()


def test_one_unsafe_folder_does_not_hide_the_others(shell: Shell) -> None:
    with shell.cluster("web", status_of("web")):
        with shell.cluster("bad"):
            pass
        (shell.home / "bad").chmod(0o777)
        bad, web = json.loads(shell("list", "--json").stdout)
    assert (bad["status"], web["status"]) == ("errored", "online")
    assert "chmod go-w" in bad["error"]


# stop


def test_stop_returns_when_the_process_is_gone(shell: Shell) -> None:
    with shell.cluster("web") as pid:
        done = shell("stop", "web")
        assert (done.returncode, done.stdout, done.stderr) == (0, "stopped web\n", "")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        done = shell("stop", "web")
        told = "nothing to do: cluster 'web' is not running\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_stop_of_an_unknown_name(shell: Shell) -> None:
    assert shell.refuses("stop", "web", status=1) == "no cluster named 'web'"
    with shell.cluster("website"):
        pass
    line = shell.refuses("stop", "web-site", status=1)
    assert line == "no cluster named 'web-site': did you mean 'website'?"


def test_stop_checks_every_name_first(shell: Shell) -> None:
    with shell.cluster("one"), shell.cluster("two"):
        line = shell.refuses("stop", "one", "none", "two", status=1)
        assert line == "no cluster named 'none': did you mean 'one'?: nothing was done"
        assert shell("stop", "one", "two", "one").stdout == "stopped one\nstopped two\n"


def test_stop_all_means_those_that_run(shell: Shell) -> None:
    assert shell("stop", "all").stdout == "nothing to do: no cluster is running\n"
    with shell.cluster("old"):
        pass
    assert shell("stop", "all").stdout == "nothing to do: no cluster is running\n"
    with shell.cluster("one"), shell.cluster("two"):
        assert shell("stop", "all").stdout == "stopped one\nstopped two\n"


@pytest.mark.parametrize(
    "answer", ['{"pid": 1}', '{"deadline": 1e9}', '{"deadline": -1}', '{"deadline": "5"}']
)
def test_stop_does_not_wait_for_a_senseless_deadline(shell: Shell, answer: str) -> None:
    with shell.cluster("web", stop=answer):
        line = shell.refuses("stop", "web", status=1)
    assert line == "cluster 'web' is of another version: it gave no deadline"


def test_stop_of_a_silent_primary(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", str(shell.home))
    monkeypatch.setattr("launcher.cli.commands.ending.ACKNOWLEDGED_WITHIN", 0.1)
    with shell.cluster("web") as pid:
        os.kill(pid, signal.SIGSTOP)
        assert main(["stop", "web"]) == 1
    line = f"launcher: cluster 'web' (pid {pid}) does not answer within 0.1 s"
    hint = f": it was stopped by a signal: kill -CONT {pid}\n"
    assert capsys.readouterr().err == line + hint


def test_stop_gives_up_at_the_deadline_of_the_primary(shell: Shell) -> None:
    with shell.cluster("web", stop='{"deadline": 0.1, "lingers": True}') as pid:
        line = shell.refuses("stop", "web", status=1)
    assert line == f"cluster 'web' (pid {pid}) has not ended within 0.1 s"


# sizing


def test_sizing_says_how_many_and_why(shell: Shell) -> None:
    first, *limits = shell("sizing").stdout.splitlines()
    assert re.fullmatch(r"\d+: .+", first)
    assert [line.partition(":")[0] for line in limits] == [
        "affinity",
        "cpuset",
        "quota",
        "memory limit",
    ]
    assert shell("sizing", WEB_CONCURRENCY="3").stdout.startswith("3: WEB_CONCURRENCY\n")
    assert shell.refuses("sizing", status=2, WEB_CONCURRENCY="abc").startswith("WEB_CONCURRENCY: ")


# Text


def test_nothing_printed_can_steer_a_terminal() -> None:
    assert printable("a\x1b]0;x\x07\r\n\x7f\x9b\u202e\u2066\u2028\ud800z") == (
        r"a\x1b]0;x\x07\r\n\x7f\x9b\u202e\u2066\u2028\ud800z"
    )
    assert printable("größe 日本 'quoted' \\") == "größe 日本 'quoted' \\"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (307, "5m07s"),
        (11_100, "3h05m"),
        (1_047_600, "12d3h"),
        (86_400 * 400, "400d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_sizes_and_counts() -> None:
    assert [show_size(size) for size in (0, 1023, 31 << 20, 300 << 20, 3 << 30)] == [
        "0B",
        "1023B",
        "31.0M",
        "300M",
        "3.0G",
    ]
    assert [show_count(count) for count in (0, 99_999, 100_000, 1_234_567)] == [
        "0",
        "99999",
        "100k",
        "1.2M",
    ]


def test_a_long_name_is_neither_cut_nor_in_the_way() -> None:
    rows = [["x" * 64, "a" * 20, "1" * 20], ["short", "b", "2"]]
    heading, long, short = table(["name", "text", "number"], rows, left=2)
    name, _, rest = long.partition("\n")
    assert name == "x" * 64
    assert len(rest) == len(heading) == len(short) <= 80


def test_parallel_results_keep_their_order_and_errors() -> None:
    assert in_parallel(str, [3, 1, 2]) == ["3", "1", "2"]
    with pytest.raises(ValueError, match="invalid literal"):
        in_parallel(int, ["1", "x"])


def test_settings_of_another_version_do_not_spoil_the_list(tmp_path: Path) -> None:
    with Home.open({"LAUNCHER_HOME": str(tmp_path / "h")}) as home, home.claim("web") as folder:
        folder.write_app_json(
            {"bind": 5, "app": ["x"], "policy": "sticky", "wanted": True, "new": 1}
        )
        entry = home.entry("web")
    assert entry
    shown = stopped(entry)
    assert (shown["bind"], shown["app"], shown["policy"]) == ([], "", "sticky")
    assert str(shown["workers_wanted"]) == "0"


@pytest.mark.parametrize("word", MEANT)
def test_what_pm2_calls_it_is_answered_with_what_to_type_here(word: str) -> None:
    command = MEANT[word].split()[0].rstrip(",")
    assert word not in COMMANDS
    assert command in COMMANDS or command == "--help"
    assert _no_such_command(word).endswith(f"here it is: python -m launcher {MEANT[word]}")
