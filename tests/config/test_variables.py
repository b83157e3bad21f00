"""Variables that begin as ours do: those of services are not heeded, misspelt ones are named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.config.resolve import resolve
from launcher.config.settings import OPTIONS
from launcher.config.variables import strays
from launcher.errors import UsageError
from tests.support import ROOT

KUBERNETES = {
    "LAUNCHER_SERVICE_HOST": "10.0.0.1",
    "LAUNCHER_SERVICE_PORT": "80",
    "LAUNCHER_SERVICE_PORT_HTTP": "80",
    "LAUNCHER_PORT": "tcp://10.0.0.1:80",
    "LAUNCHER_PORT_80_TCP": "tcp://10.0.0.1:80",
    "LAUNCHER_PORT_80_TCP_PROTO": "tcp",
    "LAUNCHER_PORT_80_TCP_PORT": "80",
    "LAUNCHER_PORT_80_TCP_ADDR": "10.0.0.1",
    # of services called launcher-workers and launcher-name
    "LAUNCHER_WORKERS_SERVICE_HOST": "fd00::1",
    "LAUNCHER_WORKERS_PORT": "udp://[fd00::1]:53",
    "LAUNCHER_NAME_PORT_53_UDP_ADDR": "10.0.0.2",
}
DOCKER = {
    "LAUNCHER_NAME": "/web/launcher",
    "LAUNCHER_PORT": "tcp://172.17.0.2:8000",
    "LAUNCHER_ENV_WORKERS": "9",
}
KNOWN = [row.variable for row in OPTIONS]


@pytest.mark.parametrize("environ", [KUBERNETES, DOCKER])
def test_what_tells_where_a_service_is_decides_nothing(environ: dict[str, str]) -> None:
    assert resolve({}, environ) == resolve({}, {})
    assert resolve({}, environ).sources == {}
    # Not even beside an address: a port and an address would be one too many.
    assert resolve({}, {**environ, "LAUNCHER_BIND": ":80"}).bind == ("0.0.0.0:80",)
    assert list(strays(environ, KNOWN)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAUNCHER_PORT", "tcp://"),
        ("LAUNCHER_PORT", "http://10.0.0.1:80"),
        ("LAUNCHER_PORT", "10.0.0.1:80"),
        ("LAUNCHER_NAME", "/web/launcher"),
        ("LAUNCHER_WORKERS", "tcp://10.0.0.1:80"),
    ],
)
def test_a_wrong_value_is_still_one(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        resolve({}, {name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LAUNCHER_WORKER", "LAUNCHER_WORKERS"),
        ("LAUNCHER_THREAD", "LAUNCHER_THREADS"),
        ("LAUNCHER_GRACEFULTIMEOUT", "LAUNCHER_GRACEFUL_TIMEOUT"),
        ("LAUNCHER_KEEP_ALIVE", "LAUNCHER_KEEPALIVE"),
        ("LAUNCHER_HOM", "LAUNCHER_HOME"),
    ],
)
def test_a_misspelt_variable_is_named(name: str, meant: str) -> None:
    assert list(strays({name: "3"}, KNOWN)) == [f"{name} is not heeded: did you mean {meant}?"]


def test_others_are_named_in_one_line() -> None:
    environ = {"LAUNCHER_B": "1", "LAUNCHER_LOG_LEVEL": "x", "LAUNCHER_EMPTY": "", "HOME": "/"}
    environ |= dict.fromkeys(KNOWN, "1") | {"LAUNCHER_HOME": "/x", "_LAUNCHER_COMPLETE": "bash"}
    assert list(strays(environ, KNOWN)) == [
        "no such option, not heeded: LAUNCHER_B, LAUNCHER_LOG_LEVEL"
    ]


@pytest.mark.parametrize("command", [["run"], ["start"], ["sizing"]])
def test_commands_that_heed_variables_say_it(command: list[str]) -> None:
    environ = {"PYTHONPATH": str(ROOT), "LAUNCHER_WORKER": "3", "LAUNCHER_THREADS": "no"}
    done = subprocess.run(
        [sys.executable, "-m", "launcher", *command],
        env={**environ, "LAUNCHER_HOME": "/dev/null/none" if command == ["start"] else "/proc"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, *_ = done.stderr.splitlines()
    assert first == "launcher: LAUNCHER_WORKER is not heeded: did you mean LAUNCHER_WORKERS?"
