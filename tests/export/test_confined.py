"""The launcher serves under the restrictions of the unit that is exported for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher.export.systemd import export
from tests.export.tools import cluster, text_of, wishes
from tests.support import ROOT, children, eventually, title

PLACES = sorted({str(ROOT), sys.prefix, sys.base_prefix})
"""Those within another come after it."""

UID = 61184
"""As systemd makes them up for DynamicUser=; nobody has it here."""

APP = """
import json, os, tempfile

def app(environ, start_response):
    with tempfile.TemporaryFile() as file:
        length = file.write(environ["wsgi.input"].read())
    refused = []
    for path in ("mine", "/var/tmp/mine", "/run/mine"):
        try:
            open(path, "w")
        except OSError as error:
            refused.append(error.errno)
    try:
        os.sched_setaffinity(0, {0})
    except OSError as error:
        refused.append(error.errno)
    status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
    told = {"length": length, "refused": refused, "home": os.listdir("/tmp"), "pid": os.getpid()}
    told |= {name: status[name] for name in ("Uid", "CapBnd", "CapEff", "NoNewPrivs")}
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

TOOLS = ("unshare", "nsenter", "setpriv", "mount", "strace", "systemd-analyze")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed"),
]


def let_through(unit: str) -> list[str]:
    """The system calls that SystemCallFilter= of a unit comes to."""
    groups = system_calls()
    allowed: set[str] = set()
    for line in re.findall("^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        members = {call for name in line.lstrip("~").split() for call in expanded(name, groups)}
        allowed = allowed - members if line.startswith("~") else allowed | members
    return sorted(allowed)


def system_calls() -> dict[str, list[str]]:
    """The groups of systemd.exec(5), as this systemd has them."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True,
        text=True,
        check=True,
    )
    groups: dict[str, list[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            groups[name := line.strip()] = []
        elif re.fullmatch(r"\s+[-@a-z_0-9]+", line) and name:
            groups[name].append(line.strip())
    return groups


def expanded(name: str, groups: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for each in groups[name] for call in expanded(each, groups)}


class Service:
    """What is exported for an app, and the processes that are started by it."""

    def __init__(self, project: Path) -> None:
        subject = cluster(project, app="shop:app", bind=("127.0.0.1:0",), workers="2")
        settings = replace(subject.settings, chdir="/srv/shop")
        unit = text_of(
            export([replace(subject, settings=settings)], wishes(python=sys.executable)),
            "shop.service",
        )
        self.start, self.reload = (
            shlex.split(re.findall(f"^{name}=(.*)$", unit, re.MULTILINE)[0])
            for name in ("ExecStart", "ExecReload")
        )
        calls = ",".join(f"?{call}" for call in let_through(unit))
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAUNCHER_HOME": "/run/launcher/shop",
        }
        self.as_user = [
            *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"),
            *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"),
        ]
        # Prints what is not let through, and answers it as the filter would.
        self.filtered = [
            *("strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/tmp/refused"),
            *("-e", f"trace=!{calls}", "-e", f"inject=!{calls}:error=EPERM", "-e", "signal=none"),
        ]
        places = [(str(project), "/srv/shop")]
        places += [(place, place) for place in PLACES]
        plan = {
            "places": places,
            "writable": ["/run/launcher/shop"],
            "folder": "/srv/shop",
            "uid": UID,
            "environ": self.environ,
            "command": [*self.as_user, *self.filtered, *self.start],
        }
        self.process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--mount-proc"),
                *(sys.executable, "-m", "tests.export.confined", json.dumps(plan)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        self.log = ""

    def read_log(self) -> str:
        assert self.process.stdout
        self.log += (self.process.stdout.read() or b"").decode()
        return self.log

    def address(self) -> str:
        found = eventually(lambda: re.search(r"ready at (http://\S+),", self.read_log()), within=60)
        return found[1]

    def first(self) -> int:
        """The process that is the first one in there."""
        (pid,) = children(self.process.pid)
        return pid

    def primary(self) -> int:
        (pid,) = children(self.first())
        return pid

    def both_workers(self) -> list[int]:
        """Nothing while one has not its name yet, or is gone."""
        workers = self.workers()
        return workers if len(workers) == 2 else []

    def workers(self) -> list[int]:
        pools = [pid for pid in children(self.primary()) if "pool" in title(pid)]
        return [pid for pool in pools for pid in children(pool) if "worker" in title(pid)]

    def within(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as the service would: in the same place, as the same user."""
        enter = ["nsenter", "-t", str(self.first()), "--mount", "--pid"]
        return subprocess.run(
            [*enter, *self.as_user, "env", "-C", "/srv/shop", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def refused(self) -> list[str]:
        """The calls that were refused up to now."""
        lines = Path(f"/proc/{self.first()}/root/tmp/refused").read_text().splitlines()
        return sorted({found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line))})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The exported unit's processes, which end with the test."""
    (tmp_path / "shop.py").write_text(APP)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    service = Service(tmp_path)
    try:
        yield service
    finally:
        # The first one takes all others of its namespace along; a wish to be killed with a parent
        # would be forgotten with the change of user (prctl(2), PR_SET_PDEATHSIG).
        for pid in children(service.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.process.wait()
        print(service.read_log())
        assert service.process.stdout
        service.process.stdout.close()


def test_it_serves_and_reloads_and_replaces_its_workers(service: Service) -> None:
    address = service.address()

    def ask() -> dict[str, Any]:
        answer = requests.post(address, data=b"x" * (2 << 20), timeout=20)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    told = ask()
    assert told["length"] == 2 << 20
    assert told["Uid"].split() == [str(UID)] * 4
    assert (told["CapBnd"], told["CapEff"], told["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert told["refused"] == [30, 30, 30, 1], "EROFS for the files, EPERM for the call"
    assert not {"pytest-of-root"} & {*told["home"]}, "/tmp is its own"

    before = eventually(service.both_workers)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: before[0] not in (service.both_workers() or before), within=30)
    assert ask()["length"] == 2 << 20

    done = service.within(service.reload)
    assert (done.returncode, done.stderr) == (0, ""), service.read_log()
    eventually(lambda: not {*service.workers()} & {*before}, within=30)
    assert ask()["length"] == 2 << 20
    listed = service.within([sys.executable, "-m", "launcher", "list", "--json"])
    (status,) = json.loads(listed.stdout)
    assert (status["status"], status["generation"]) == ("online", 2)

    assert service.refused() == ["sched_setaffinity"], "what the app itself has tried"
    os.kill(service.primary(), signal.SIGTERM)
    assert service.process.wait(30) == 0


def test_the_filter_is_that_of_the_unit() -> None:
    allowed = let_through(
        "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n"
    )
    assert {"memfd_create", "pidfd_open", "pidfd_send_signal", "epoll_wait", "read"} <= {*allowed}
    assert not {"chown", "setuid", "mount", "ptrace", "sched_setaffinity"} & {*allowed}
