"""Units that systemd itself reads: the same words come out, and little is left to attack."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.export.systemd import export, quoted, raw
from launcher.export.terms import Cluster, Wishes
from tests.export.tools import ODD_APP, ODD_FOLDER, cluster, settings_of, text_of, wishes

ANALYZE = shutil.which("systemd-analyze")
MANAGER = next(
    (path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(path)),
    "",
)
pytestmark = pytest.mark.slow
analyzed = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
managed = pytest.mark.skipif(not MANAGER, reason="systemd is not installed")

NOBODY = 65534
MOST = 2.5
"""The exposure of a unit, by systemd-analyze security: 10 is the worst."""


def unit(subject: Cluster, name: str = "shop.service", **options: object) -> str:
    return text_of(export([subject], replace(wishes(), **options)), name)  # type: ignore[arg-type]


def value_of(text: str, setting: str) -> list[str]:
    """Every value that a unit gives a setting."""
    return re.findall(rf"^{setting}=(.*)$", text, re.MULTILINE)


def as_systemd_reads(text: str, place: Path) -> str:
    """What systemd says that it has understood of a unit, as a manager that starts nothing."""
    units, runtime = place / "units", place / "runtime"
    for folder in (units, runtime):
        folder.mkdir(mode=0o755, parents=True)
    (units / "shop.service").write_text(text)
    if os.geteuid() == 0:  # a manager is not to be root
        for folder in (place, *place.parents):
            if Path(tempfile.gettempdir()) in folder.parents:  # pytest's own
                folder.chmod(0o755)
        os.chown(runtime, NOBODY, NOBODY)
    done = subprocess.run(
        [MANAGER, "--user", "--test", "--unit=shop.service"],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "XDG_RUNTIME_DIR": str(runtime), "HOME": "/tmp"},
        user=NOBODY if os.geteuid() == 0 else None,
        group=NOBODY if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"-> Unit shop\.service:\n(.*?)\n(?=\t?-> Unit |\Z)", done.stdout, re.DOTALL)
    assert found, done
    return found[1]


def words_in(dump: str, setting: str) -> list[str]:
    """The words of a command; systemd shows them as a shell would read them."""
    (line,) = re.findall(rf"-> {setting}:\n\s*Command Line: (.*)", dump)
    script = f"printf '%s\\0' {line}"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return shown.stdout.split("\0")[:-1]


@managed
@pytest.mark.parametrize("app", ["shop:app", ODD_APP])
def test_systemd_has_the_words_that_were_meant(tmp_path: Path, app: str) -> None:
    folder = tmp_path / "place" / ODD_FOLDER
    folder.mkdir(parents=True)
    subject = cluster(folder, app=app, health_path="/100%?$x")
    dump = as_systemd_reads(unit(subject), tmp_path / "systemd")
    words = words_in(dump, "ExecStart")
    assert words[:4] == ["/srv/a b$/bin/python", "-m", "launcher", "run"]
    assert settings_of(words[4:]) == subject.settings
    assert words_in(dump, "ExecReload")[1:] == ["-m", "launcher", "reload", "shop"]
    assert f"WorkingDirectory: {folder}\n" in dump


@managed
def test_systemd_has_the_words_of_an_app_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "place" / ODD_FOLDER
    folder.mkdir(parents=True)
    file = folder / "cluster.toml"
    subject = cluster(folder, bind=(":8001",))
    settings = replace(
        subject.settings,
        config=str(file),
        workers=3,
        sources={"app": "cluster.toml", "bind": "cluster.toml", "workers": "--workers"},
    )
    text = unit(replace(subject, settings=settings), python_path="/opt/a b\"%'$")
    dump = as_systemd_reads(text, tmp_path / "systemd")
    words = words_in(dump, "ExecStart")[4:]
    assert words == ["--config", str(file), "shop", "--workers", "3"]
    assert "Environment: PYTHONPATH=/opt/a b\"%'$\n" in dump
    assert "Environment: LAUNCHER_HOME=/run/launcher/shop\n" in dump


@managed
def test_all_that_is_printable_comes_out_of_a_line_as_it_went_in(tmp_path: Path) -> None:
    odd = filter(str.isprintable, map(chr, range(0x20, 0x180)))
    words = [f"a{char}{char}" for char in odd] + ["", ";", "a;", "\\;", "😀"]
    text = f"[Service]\nExecStart=:/bin/echo {quoted(words)}\n"
    assert words_in(as_systemd_reads(text, tmp_path / "systemd"), "ExecStart")[1:] == words


@analyzed
@pytest.mark.parametrize("socket", [False, True])
@pytest.mark.parametrize("user", ["", "daemon"])
def test_systemd_accepts_them(tmp_path: Path, socket: bool, user: str) -> None:
    assert ANALYZE
    subject = cluster(tmp_path, bind=(":80", "[::1]:8000", "unix:/run/shop/a b.sock"))
    files = export([subject], wishes(socket=socket, user=user, python="/bin/true"))
    assert [file.name for file in files] == ["shop.service"] + ["shop.socket"] * socket
    for file in files:
        (tmp_path / file.name).write_text(file.stamped("systemd"))
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", *(str(tmp_path / file.name) for file in files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "shop." in line]
    assert (done.returncode, ours) == (0, [])


@analyzed
@pytest.mark.parametrize("home", ["", "/home/ann/.venv"])
def test_little_is_left_to_attack(tmp_path: Path, home: str) -> None:
    assert ANALYZE
    path = tmp_path / "shop.service"
    path.write_text(unit(cluster(tmp_path, bind=(":80",)), places=(home,), python="/bin/true"))
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", f"--threshold={MOST * 10:g}", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert float(re.findall(r"exposure level for shop\.service: ([0-9.]+)", done.stdout)[0]) <= MOST


def test_the_units_timeouts_follow_the_clusters(tmp_path: Path) -> None:
    one = unit(cluster(tmp_path))
    other = unit(cluster(tmp_path, drain="8", graceful_timeout="12", boot_timeout="5"))
    assert (value_of(one, "TimeoutStopSec"), value_of(one, "TimeoutStartSec")) == (["35"], ["130"])
    assert value_of(other, "TimeoutStopSec") == ["25"]
    assert value_of(other, "TimeoutStartSec") == ["20"]


def test_a_home_is_readable_where_a_path_lies_in_one(tmp_path: Path) -> None:
    subject = cluster(Path("/"))
    assert value_of(unit(subject), "ProtectHome") == ["yes"]
    for place in ("/home/ann/.venv", "/root/.pyenv", "/run/user/1000/x"):
        assert value_of(unit(subject, places=(place,)), "ProtectHome") == ["read-only"]
    assert value_of(unit(subject, places=("/homework",)), "ProtectHome") == ["yes"]
    socket = cluster(Path("/"), bind=("unix:/home/ann/shop.sock",))
    assert value_of(unit(socket), "ProtectHome") == ["read-only"]
    assert value_of(unit(socket), "ReadWritePaths") == ["-/home/ann"]


def test_it_runs_as_the_user_that_is_named_or_owns_the_project_but_never_as_root(
    tmp_path: Path,
) -> None:
    subject = cluster(tmp_path)
    assert value_of(unit(subject), "DynamicUser") == ["yes"]
    assert value_of(unit(replace(subject, owner="ann")), "User") == ["ann"]
    assert value_of(unit(replace(subject, owner="ann"), user="shop"), "User") == ["shop"]


def test_a_low_port_takes_the_one_capability_for_it(tmp_path: Path) -> None:
    def capabilities(*, socket: bool) -> list[str]:
        text = unit(cluster(tmp_path, bind=("0.0.0.0:80",)), socket=socket)
        return value_of(text, "AmbientCapabilities") + value_of(text, "CapabilityBoundingSet")

    assert capabilities(socket=False) == ["CAP_NET_BIND_SERVICE"] * 2
    assert capabilities(socket=True) == ["", ""]


def test_variables_of_the_shell_are_named_and_left_to_a_file(tmp_path: Path) -> None:
    text = unit(cluster(tmp_path, of_shell=("DATABASE_URL", "TOKEN"), of_files=("MODE",)))
    assert value_of(text, "EnvironmentFile") == ["/etc/launcher/shop.env"]
    assert "one NAME=VALUE a line:\n#   DATABASE_URL TOKEN\n" in text
    assert "MODE" not in text  # its file is on this machine, and read there
    assert "EnvironmentFile" not in unit(cluster(tmp_path))


def test_a_socket_unit_listens_where_the_cluster_would(tmp_path: Path) -> None:
    subject = cluster(
        tmp_path,
        bind=("localhost:8000", "[::1]:8000", "unix:/run/a b%.sock"),
        backlog="77",
        unix_socket_mode="660",
        unix_socket_owner="ann:www",
    )
    text = unit(subject, "shop.socket", socket=True)
    assert value_of(text, "ListenStream") == ["127.0.0.1:8000", "[::1]:8000", "/run/a b%%.sock"]
    assert value_of(text, "Backlog") == ["77"]
    assert value_of(text, "SocketMode") == ["0660"]
    assert value_of(text, "SocketUser") + value_of(text, "SocketGroup") == ["ann", "www"]
    service = unit(subject, socket=True)
    assert value_of(service, "Requires") == ["shop.socket"]
    assert "--bind" not in service


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "fd://3", "web.example:80"])
def test_a_socket_unit_needs_an_address(tmp_path: Path, bind: str) -> None:
    with pytest.raises(LauncherError, match=r"--bind|its parent"):
        export([cluster(tmp_path, bind=(bind,))], Wishes(socket=True))


def test_what_only_the_shell_could_pass_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="only its parent has"):
        unit(cluster(tmp_path, bind=("fd://3",)))


@pytest.mark.parametrize("path", ["/a\nb", "/a ", "/a\\", "/a\x7f"])
def test_a_path_that_no_unit_can_name_is_refused(path: str) -> None:
    with pytest.raises(LauncherError, match="plainer name"):
        raw(path)


def test_the_security_report_is_of_the_unit(tmp_path: Path) -> None:
    """What the figure above is a sum of: a unit without its hardening has a far worse one."""
    if not ANALYZE:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "shop.service"
    path.write_text(unit(cluster(tmp_path), python="/bin/true").partition("NoNewPriv")[0])
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--json=short", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    exposures = [float(each["exposure"] or 0) for each in json.loads(done.stdout)]
    assert sum(exposures) > MOST
