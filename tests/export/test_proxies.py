"""Files for HAProxy and nginx that they themselves accept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.export import haproxy, nginx
from launcher.export.terms import Cluster, Export
from tests.export.tools import ODD_FOLDER, cluster, wishes

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
HAPROXY, NGINX = shutil.which("haproxy", path=PATH), shutil.which("nginx", path=PATH)

HOSTS = ("10.0.0.1", "fd00::1", "localhost")


def require_accepted_by_haproxy(text: str, place: Path) -> None:
    if not HAPROXY:
        pytest.skip("haproxy is not installed")
    path = place / "haproxy.cfg"
    path.write_text(text)
    done = subprocess.run(
        [HAPROXY, "-c", "-f", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, re.findall("WARNING|ALERT", done.stderr)) == (0, []), done.stderr


def require_accepted_by_nginx(text: str, place: Path) -> None:
    if not NGINX:
        pytest.skip("nginx is not installed")
    path = place / "nginx.conf"
    # -t opens the ports and writes its pid: not as root in the places of the one that runs here.
    port = re.sub(r"listen 80", "listen 127.0.0.1:18080", text)
    path.write_text(f"pid {place}/nginx.pid;\n{port}")
    done = subprocess.run(
        [NGINX, "-t", "-c", path, "-p", place, "-e", "stderr"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, re.findall(r"\[(?:warn|emerg)\]", done.stderr)) == (0, []), done.stderr


CHECKS = {"haproxy": require_accepted_by_haproxy, "nginx": require_accepted_by_nginx}
EXPORTS: dict[str, Export] = {"haproxy": haproxy.export, "nginx": nginx.export}
each_engine = pytest.mark.parametrize("engine", CHECKS)


@pytest.mark.slow
@each_engine
@pytest.mark.parametrize("hosts", [(), HOSTS])
def test_the_engine_accepts_its_file(tmp_path: Path, engine: str, hosts: tuple[str, ...]) -> None:
    clusters = [
        cluster(tmp_path, bind=("0.0.0.0:8001",), workers="4"),
        named(cluster(tmp_path, bind=("[::]:8002",), keepalive="4", timeout="0"), "Blog_1.v2"),
        named(cluster(tmp_path, bind=("0.0.0.0:8003",), keepalive="0", drain="9"), "a" * 64),
    ]
    for several in (clusters, clusters[:1], clusters[1:2]):
        (file,) = EXPORTS[engine](several, wishes(hosts=hosts))
        CHECKS[engine](file.stamped(engine), tmp_path)


@pytest.mark.slow
@each_engine
def test_the_engine_accepts_the_path_of_a_unix_socket(tmp_path: Path, engine: str) -> None:
    folder = ODD_FOLDER.replace("$", "%") if engine == "haproxy" else ODD_FOLDER
    subject = cluster(tmp_path, bind=(f"unix:/run/{folder}/web.sock",))
    (file,) = EXPORTS[engine]([subject], wishes())
    CHECKS[engine](file.text, tmp_path)


def test_haproxy_would_take_a_dollar_in_an_address_for_a_variable(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="plainer name"):
        haproxy_of(cluster(tmp_path, bind=("unix:/run/$HOME/web.sock",)))


def named(subject: Cluster, name: str) -> Cluster:
    return replace(subject, settings=replace(subject.settings, name=name))


def haproxy_of(subject: Cluster, *hosts: str) -> str:
    return haproxy.export([subject], wishes(hosts=hosts))[0].text


def nginx_of(subject: Cluster, *hosts: str) -> str:
    return nginx.export([subject], wishes(hosts=hosts))[0].text


def test_each_host_is_a_server_that_is_asked_at_its_status_address(tmp_path: Path) -> None:
    subject = cluster(tmp_path, bind=("0.0.0.0:8001",), workers="2", threads="2:8")
    text = haproxy_of(subject, "10.0.0.1", "[fd00::1]")
    assert "    server shop-1 10.0.0.1:8001 port 9000\n" in text
    assert "    server shop-2 [fd00::1]:8001 port 9000\n" in text
    assert " maxconn 32\n" in text
    text = nginx_of(subject, "10.0.0.1", "[fd00::1]")
    assert "server 10.0.0.1:8001 max_fails" in text
    assert "server [fd00::1]:8001 max_fails" in text


def test_without_hosts_it_is_this_one(tmp_path: Path) -> None:
    subject = cluster(tmp_path, bind=("0.0.0.0:8001",))
    assert "    server shop-1 127.0.0.1:8001 port 9000\n" in haproxy_of(subject)
    assert "server 127.0.0.1:8001 " in nginx_of(subject)
    assert "server [::1]:8001 " in nginx_of(cluster(tmp_path, bind=("[::]:8001",)))
    other = cluster(tmp_path, bind=("127.0.0.2:8001",))
    assert "    server shop-1 127.0.0.2:8001 addr 127.0.0.1 port 9000\n" in haproxy_of(other)


def test_with_auto_no_number_of_connections_is_right_for_all_hosts(tmp_path: Path) -> None:
    assert "maxconn" not in haproxy_of(cluster(tmp_path)).partition("backend shop")[2]


def test_patience_follows_the_timeouts(tmp_path: Path) -> None:
    subject = cluster(tmp_path, timeout="40", queue_timeout="7", limit_request_body="16M")
    assert "timeout server 52s" in haproxy_of(subject)
    assert "timeout queue 7s" in haproxy_of(subject)
    assert "proxy_read_timeout 52s" in nginx_of(subject)
    assert "client_max_body_size 16777216;" in nginx_of(subject)


@pytest.mark.parametrize(
    ("keepalive", "kept"), [("75", "60s"), ("60", "55s"), ("4", "2s"), ("1", ""), ("0", "")]
)
def test_nginx_closes_an_idle_connection_before_the_cluster_does(
    tmp_path: Path, keepalive: str, kept: str
) -> None:
    text = nginx_of(cluster(tmp_path, keepalive=keepalive))
    assert re.findall(r"keepalive_timeout (\S+);", text) == ([kept] if kept else [])
    assert ("keepalive 64;" in text) == bool(kept)


def test_several_clusters_are_told_apart_by_the_host(tmp_path: Path) -> None:
    clusters = [cluster(tmp_path), named(cluster(tmp_path), "Blog")]
    (file,) = haproxy.export(clusters, wishes())
    assert "use_backend Blog if { hdr_beg(host) -i blog. }\n" in file.text
    assert "default_backend shop\n" in file.text
    (file,) = nginx.export(clusters, wishes())
    assert "server_name blog.*;" in file.text
    assert file.text.count("default_server") == 1


def test_a_drain_that_is_too_short_for_the_checks_is_pointed_out(tmp_path: Path) -> None:
    assert "drain is 2 s" in haproxy_of(cluster(tmp_path, drain="2"))
    assert "drain" not in re.sub("that drains", "", haproxy_of(cluster(tmp_path, drain="5")))


@each_engine
@pytest.mark.parametrize(
    ("bind", "status", "hosts", "refusal"),
    [
        ("127.0.0.1:8001", "0.0.0.0:9000", ("10.0.0.1",), "--bind 0.0.0.0:8001"),
        ("127.0.0.1:0", "0.0.0.0:9000", (), "any free port"),
        ("fd://3", "0.0.0.0:9000", (), "only its parent has"),
        ("unix:/run/web.sock", "0.0.0.0:9000", ("10.0.0.1",), "cannot be reached"),
        ("0.0.0.0:8001", "0.0.0.0:9000", ("a b",), "--host"),
        ("0.0.0.0:8001", "0.0.0.0:9000", ("http://a",), "--host"),
    ],
)
def test_what_no_proxy_could_reach_is_refused(
    tmp_path: Path, engine: str, bind: str, status: str, hosts: tuple[str, ...], refusal: str
) -> None:
    with pytest.raises(LauncherError, match=re.escape(refusal)):
        EXPORTS[engine]([cluster(tmp_path, bind=(bind,), status_bind=status)], wishes(hosts=hosts))


def test_checks_need_a_status_address_that_others_reach(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="status_bind"):
        haproxy_of(cluster(tmp_path, status_bind=None))
    with pytest.raises(LauncherError, match=re.escape("--status-bind 0.0.0.0:9000")):
        haproxy_of(cluster(tmp_path, bind=(":8001",), status_bind="127.0.0.1:9000"), "10.0.0.1")
    assert nginx_of(cluster(tmp_path, status_bind=None)), "nginx has no checks"
