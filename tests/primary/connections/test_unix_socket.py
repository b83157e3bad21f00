"""Who may connect to a unix socket: options first, then gunicorn's configuration."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from launcher.config.resolve import resolve
from launcher.config.settings import Settings, parse_bind
from launcher.errors import LauncherError
from launcher.primary.connections.listeners import open_listeners
from launcher.primary.connections.unix_socket import ALL, Access, access_of, admit
from tests.support import StartCluster, eventually


def settings(folder: Path, /, **flags: object) -> Settings:
    return resolve({"chdir": str(folder), **flags}, {})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("text", ["660", "0660", "0o660"])
def test_a_mode_is_octal(tmp_path: Path, text: str) -> None:
    assert settings(tmp_path, unix_socket_mode=text).unix_socket_mode == "0660"
    assert access_of(settings(tmp_path, unix_socket_mode=text), {}) == Access(0o660)


@pytest.mark.parametrize("text", ["66", "888", "1777", "rw-rw----", "432x", "-660"])
def test_what_is_no_mode(tmp_path: Path, text: str) -> None:
    with pytest.raises(LauncherError, match=r"^--unix-socket-mode: .* is no mode: write 660"):
        settings(tmp_path, unix_socket_mode=text)


@pytest.mark.parametrize(
    ("text", "uid", "gid"),
    [("root", 0, -1), ("root:root", 0, 0), (":root", -1, 0), ("12:345", 12, 345), ("0", 0, -1)],
)
def test_an_owner_is_as_for_chown(tmp_path: Path, text: str, uid: int, gid: int) -> None:
    assert access_of(settings(tmp_path, unix_socket_owner=text), {}) == Access(0o777, uid, gid)


@pytest.mark.parametrize("text", ["", ":", "a b", "root:", "a:b:c", "-x"])
def test_what_is_no_owner(tmp_path: Path, text: str) -> None:
    with pytest.raises(LauncherError, match=r"^--unix-socket-owner: "):
        settings(tmp_path, unix_socket_owner=text)


@pytest.mark.parametrize(
    ("text", "line"),
    [("nobody-of-that-name", "no user 'nobody-of-that-name'"), (":none-such", "no group 'none-")],
)
def test_an_owner_that_there_is_not(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(LauncherError, match=f"^unix_socket_owner: there is {line}"):
        access_of(settings(tmp_path, unix_socket_owner=text), {})


@pytest.mark.parametrize("environ", [{}, {"GUNICORN_CMD_ARGS": "--umask 7"}])
def test_until_gunicorn_has_been_asked_nobody_else_may(
    tmp_path: Path, environ: Mapping[str, str]
) -> None:
    config = "" if environ else "python:conf"
    access = access_of(settings(tmp_path, **_config(config)), environ)
    assert access == Access(None)
    assert access.completed(0o770, 1, 2) == Access(0o770, 1, 2)
    told = {"unix_socket_mode": "600", "unix_socket_owner": ":7", **_config(config)}
    sure = access_of(settings(tmp_path, **told), environ)
    assert sure.completed(0o770, 1, 2) == sure == Access(0o600, -1, 7)
    assert access_of(settings(tmp_path), {}) == ALL


def _config(name: str) -> dict[str, str]:
    return {"gunicorn_config": name} if name else {}


@pytest.mark.parametrize("bits", [0o600, 0o660, 0o777, None])
def test_the_file_is_what_was_asked_for(tmp_path: Path, bits: int | None) -> None:
    path = tmp_path / "web.sock"
    before = os.umask(0o027)
    try:
        (listener,) = open_listeners([parse_bind(f"unix:{path}")], 1, Access(bits))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert mode(path) == (0o600 if bits is None else bits)
    listener.admit(0o117, -1, -1)
    assert mode(path) == (0o660 if bits is None else bits)
    listener.close()
    listener.admit(0, -1, -1)  # gone: nothing to do


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_whom_the_option_names_else_gunicorns(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    for access, owner in ((Access(0o660, 12, 34), (12, 34)), (Access(0o660), (56, 78))):
        (listener,) = open_listeners([parse_bind(f"unix:{path}")], 1, access)
        listener.admit(0, 56, 78)
        assert (path.stat().st_uid, path.stat().st_gid) == owner
        assert mode(path) == 0o660
        listener.close()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EPERM, "x"), "this user may not give it to 12:34"),
        (PermissionError(errno.EACCES, "x"), "this user may not give it to 12:34"),
    ],
)
def test_an_owner_that_cannot_be_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    path = tmp_path / "web.sock"
    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(LauncherError, match=f"^cannot listen on unix:{path}: {line}$"):
        open_listeners([parse_bind(f"unix:{path}")], 1, Access(0o660, 12, 34))
    assert not path.exists()


def test_nothing_that_took_its_place_is_changed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "web.sock"
    other.touch(0o600)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        inode = path.stat().st_ino
    path.unlink()
    path.symlink_to(other)
    admit(str(path), inode, ALL)
    assert mode(other) == 0o600


def test_gunicorns_umask_counts_and_is_waited_for(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    path, gate = tmp_path / "web.sock", tmp_path / "gate"
    (tmp_path / "g.py").write_text("umask = 0o117\n")
    (tmp_path / "slow.py").write_text(
        f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "from echo import app\n"
    )
    arguments = "slow:app", "-w", "1", "-b", f"unix:{path}", "--gunicorn-config", "g.py"
    apps = str(Path(__file__).parents[2] / "apps")
    root = str(Path(__file__).parents[3])
    cluster = start_cluster(*arguments, folder=tmp_path, PYTHONPATH=f"{root}:{apps}")
    eventually(lambda: cluster.status()["status"] == "launching")
    assert mode(path) == 0o600
    gate.touch()
    cluster.ready()
    assert mode(path) == 0o660
    option = start_cluster(
        *("echo:app", "-w", "1", "-n", "two", "-b", f"unix:{tmp_path}/two.sock"),
        *("--unix-socket-mode", "640", "--gunicorn-config", str(tmp_path / "g.py")),
    ).ready()
    assert mode(tmp_path / "two.sock") == 0o640
    assert option.stop() == 0
