"""Exports for containers: accepted by their engines' schemas, with the words that were meant."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import LauncherError
from launcher.export import compose, dockerfile, kubernetes, procfile, quadlet
from launcher.export.containers import check
from launcher.export.terms import Cluster, Export
from tests.export.tools import (
    ODD_APP,
    ODD_FOLDER,
    answering,
    cluster,
    needs,
    settings_of,
    text_of,
    wishes,
)

VERSIONS = ("1.35.0", "1.36.0", "1.37.0")

GENERATOR = next(
    (
        path
        for path in ("/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")
        if os.path.exists(path)
    ),
    os.environ.get("QUADLET", ""),
)

ENGINES: dict[str, Export] = {
    "compose": compose.export,
    "dockerfile": dockerfile.export,
    "kubernetes": kubernetes.export,
    "quadlet": quadlet.export,
}
each_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture
def odd(tmp_path: Path) -> Cluster:
    """A cluster full of characters that mean something."""
    folder = tmp_path / ODD_FOLDER
    folder.mkdir()
    return cluster(
        folder,
        app=ODD_APP,
        bind=("127.0.0.1:8001",),
        health_path="/100%?$x$(y)",
        workers="3",
        of_files=("MODE", "NO"),
        of_shell=("DATABASE_URL",),
    )


def require_same_words(words: list[str], subject: Cluster) -> None:
    """These start the cluster that was meant, on all interfaces of its container."""
    assert words[:4] == ["python", "-m", "launcher", "run"]
    settings = settings_of(words[4:])
    bind = tuple(f"0.0.0.0:{address.port}" for address in subject.addresses)
    expected = replace(subject.settings, bind=bind, chdir=settings.chdir)
    assert settings == expected


# Kubernetes


def objects(subject: Cluster, **options: Any) -> dict[str, dict[str, Any]]:
    (yaml,) = needs("yaml")
    text = text_of(kubernetes.export([subject], wishes(**options)), f"{subject.name}.yaml")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def container(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (only,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [{}, {"drain": 8.0}, {"workers": None, "bind": (":80", ":81")}])
def test_kubernetes_accepts_all_objects(
    odd: Cluster, version: str, options: dict[str, Any]
) -> None:
    (validator,) = needs("kubernetes_validate")
    subject = replace(odd, settings=replace(odd.settings, **options))
    found = objects(subject, hpa=True)
    assert [*found] == ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
    for each in found.values():
        validator.validate(each, version, strict=True)


def test_kubernetes_has_the_words_that_were_meant(odd: Cluster) -> None:
    words = container(objects(odd))["command"]
    require_same_words([expanded(word, {}) for word in words], odd)


def expanded(word: str, variables: dict[str, str]) -> str:
    """As Kubernetes expands a command: $(NAME), and $$ for a dollar."""
    return re.sub(
        r"\$(\$|\(([^)]*)\))",
        lambda found: "$" if found[1] == "$" else variables.get(found[2], found[0]),
        word,
    )


def test_the_grace_is_what_the_pod_takes_at_most(tmp_path: Path) -> None:
    def grace(**options: Any) -> tuple[int, Any]:
        found = objects(cluster(tmp_path, **options))
        pod = found["Deployment"]["spec"]["template"]["spec"]
        return pod["terminationGracePeriodSeconds"], container(found).get("lifecycle")

    sleep = {"preStop": {"sleep": {"seconds": 10}}}
    assert grace() == (45, sleep)
    assert grace(graceful_timeout="60") == (75, sleep)
    assert grace(drain="12") == (47, None), "both would be waiting twice"


def test_the_probes_ask_the_status_address(tmp_path: Path) -> None:
    only = container(objects(cluster(tmp_path, boot_timeout="40")))
    assert {port["name"]: port["containerPort"] for port in only["ports"]}["status"] == 9000
    probes = {name: only[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["httpGet"] for name, probe in probes.items()} == {
        "startup": {"path": "/readyz", "port": "status"},
        "readiness": {"path": "/readyz", "port": "status"},
        "liveness": {"path": "/livez", "port": "status"},
    }
    startup = probes["startup"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 90  # twice 40 s, and 10
    local = container(objects(cluster(tmp_path, status_bind="127.0.0.1:9000")))
    assert "--status-bind 0.0.0.0:9000" in " ".join(local["command"])


def test_workers_are_as_many_as_the_cpus_that_are_requested(tmp_path: Path) -> None:
    only = container(objects(cluster(tmp_path, workers="3", max_memory="100M")))
    assert only["resources"] == {"requests": {"cpu": "3", "memory": str(4 * 100 << 20)}}
    assert "--workers" in only["command"]
    only = container(objects(cluster(tmp_path)))
    assert only["resources"] == {"requests": {"cpu": "2"}}
    (workers,) = [each for each in only["env"] if each["name"] == "LAUNCHER_WORKERS"]
    assert workers["valueFrom"]["resourceFieldRef"] == {"resource": "requests.cpu", "divisor": "1"}
    assert "--workers" not in only["command"]


def test_an_auto_that_was_asked_for_does_not_outdo_the_request(tmp_path: Path) -> None:
    assert "--workers" not in container(objects(cluster(tmp_path, workers="auto")))["command"]


def test_variables_come_from_a_secret_by_name(odd: Cluster) -> None:
    found = [each for each in container(objects(odd))["env"] if "secretKeyRef" in str(each)]
    assert [each["name"] for each in found] == ["MODE", "NO", "DATABASE_URL"]
    assert found[0]["valueFrom"] == {"secretKeyRef": {"name": "shop", "key": "MODE"}}


@pytest.mark.parametrize(
    ("name", "label"),
    [("Shop_1.v2", "shop-1-v2"), ("1st", "app-1st"), ("a" * 64, "a" * 63), ("x.-_", "x")],
)
def test_objects_have_names_that_kubernetes_allows(tmp_path: Path, name: str, label: str) -> None:
    subject = cluster(tmp_path, name=name)
    assert {each["metadata"]["name"] for each in objects(subject).values()} == {label}


def test_two_clusters_of_one_name_there_are_refused(tmp_path: Path) -> None:
    both = [cluster(tmp_path, name="shop.1"), cluster(tmp_path, name="Shop_1")]
    with pytest.raises(LauncherError, match="would both be called 'shop-1'"):
        kubernetes.export(both, wishes())


@pytest.mark.parametrize("user", ["ann", "0", "0:0", "1:x"])
def test_kubernetes_knows_users_by_number_and_none_is_root(tmp_path: Path, user: str) -> None:
    with pytest.raises(LauncherError, match="--user"):
        kubernetes.export([cluster(tmp_path)], wishes(user=user))


def test_a_scaled_deployment_has_no_number_of_its_own(tmp_path: Path) -> None:
    subject = cluster(tmp_path)
    assert objects(subject)["Deployment"]["spec"]["replicas"] == 2
    found = objects(subject, hpa=True)
    assert "replicas" not in found["Deployment"]["spec"], "each apply would undo the scaling"
    (metric,) = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"] == {"name": "launcher_threads_busy_ratio"}


# Compose


def services(*clusters: Cluster, **options: Any) -> dict[str, dict[str, Any]]:
    (yaml,) = needs("yaml")
    text = text_of(compose.export(clusters, wishes(**options)), "compose.yaml")
    return dict(yaml.safe_load(text)["services"])


def test_compose_accepts_the_file(odd: Cluster, tmp_path: Path) -> None:
    (checker,) = needs("compose_spec")
    others = [cluster(tmp_path, name=name, bind=(":80",)) for name in ("no", "1.5", "Shop_1.v2")]
    text = text_of(compose.export([odd, *others], wishes()), "compose.yaml")
    assert checker.PyCompose.from_yaml(text).service_names() == ["shop", "no", "1.5", "Shop_1.v2"]


def test_compose_has_the_words_that_were_meant(odd: Cluster) -> None:
    words = services(odd)["shop"]["command"]
    require_same_words([interpolated(word) for word in words], odd)


def interpolated(word: str) -> str:
    """As Compose does it, where $$ is a dollar; any other is a variable, or a mistake."""
    assert "$" not in word.replace("$$", "")
    return word.replace("$$", "$")


def test_compose_publishes_a_port_only_where_the_cluster_listens(tmp_path: Path) -> None:
    subject = cluster(
        tmp_path, bind=("127.0.0.1:8001", "[::1]:8002", ":8003"), status_bind="127.0.0.1:9000"
    )
    assert services(subject)["shop"]["ports"] == [
        "127.0.0.1:8001:8001",
        "[::1]:8002:8002",
        "8003:8003",
        "127.0.0.1:9000:9000",
    ]


def test_compose_has_the_names_of_variables(odd: Cluster) -> None:
    environment = services(odd)["shop"]["environment"]
    assert environment == {
        "LAUNCHER_HOME": "/tmp/launcher",
        "MODE": None,
        "NO": None,
        "DATABASE_URL": None,
    }


def test_compose_waits_as_long_as_the_cluster_may_take(tmp_path: Path) -> None:
    service = services(cluster(tmp_path, graceful_timeout="12", drain="3"))["shop"]
    assert service["stop_grace_period"] == "20s"
    assert service["healthcheck"]["start_period"] == "130s"


def test_compose_builds_the_image_unless_one_is_named(tmp_path: Path) -> None:
    assert services(cluster(tmp_path))["shop"]["build"] == "."
    named = services(cluster(tmp_path), image="registry.example/shop:1")["shop"]
    assert named["image"] == "registry.example/shop:1"
    assert "build" not in named


@pytest.mark.slow
@pytest.mark.parametrize(("host", "bound"), [("127.0.0.1", "0.0.0.0:{}"), ("::1", "[::]:{}")])
def test_the_check_is_about_readiness(tmp_path: Path, host: str, bound: str) -> None:
    for status, code in ((200, 0), (503, 1)):
        with answering(status, host) as port:
            python, *words = check(cluster(tmp_path, status_bind=bound.format(port)))
            assert python == "python"
            environ = {"http_proxy": "http://127.0.0.1:1"}
            done = subprocess.run([sys.executable, *words], env=environ, timeout=60, check=False)
            assert done.returncode == code


# Quadlet


def values(text: str, setting: str) -> list[str]:
    return re.findall(rf"^{setting}=(.*)$", text, re.MULTILINE)


def test_quadlet_has_what_podman_is_to_do(odd: Cluster) -> None:
    text = text_of(quadlet.export([odd], wishes()), "shop.container")
    assert values(text, "PublishPort") == ["127.0.0.1:8001:8001", "9000:9000"]
    assert values(text, "EnvironmentFile") == ["/etc/launcher/shop.env"]
    assert "#   MODE NO DATABASE_URL\n" in text
    assert values(text, "PodmanArgs") == ["--stop-timeout=35"]
    assert values(text, "TimeoutStopSec") == ["45"]
    assert values(text, "User") + values(text, "Group") == ["10001", "10001"]


@pytest.mark.slow
@pytest.mark.skipif(not GENERATOR, reason="Podman's generator of units is not installed")
def test_podman_makes_a_service_with_the_words_that_were_meant(
    odd: Cluster, tmp_path: Path
) -> None:
    from tests.export.test_systemd import MANAGER, as_systemd_reads, words_in

    units = tmp_path / "quadlet"
    units.mkdir()
    text = text_of(quadlet.export([odd], wishes()), "shop.container")
    (units / "shop.container").write_text(text)
    done = subprocess.run(
        [*shlex.split(GENERATOR), "-dryrun"],
        env={"QUADLET_UNIT_DIRS": str(units), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = done.stdout.partition("---shop.service---\n")[2]
    assert made, done
    if not MANAGER:
        pytest.skip("systemd is not installed")
    read = words_in(as_systemd_reads(made, tmp_path / "systemd"), "ExecStart")
    # What it shows is as it was before the values of variables: as in Compose, $$ is a dollar.
    words = [interpolated(word) for word in read]
    require_same_words(words[words.index("shop:latest") + 1 :], odd)
    health = words[words.index("--health-cmd") + 1]
    assert json.loads(health) == check(odd)


# Dockerfile and Procfile


def test_the_dockerfile_starts_it_with_the_words_that_were_meant(odd: Cluster) -> None:
    text = text_of(dockerfile.export([odd], wishes(python_version="3.13")), "Dockerfile")
    (command,) = re.findall("^CMD (.*)$", text, re.MULTILINE)
    require_same_words(json.loads(command), odd)
    assert "FROM python:3.13-slim\n" in text
    assert "USER 10001:10001\n" in text
    assert "EXPOSE 8001 9000\n" in text
    assert "requirements.txt" not in text


def test_a_dockerfile_is_for_one_cluster(tmp_path: Path) -> None:
    both = [cluster(tmp_path), cluster(tmp_path, name="blog")]
    with pytest.raises(LauncherError, match="one cluster: name it: shop, blog"):
        dockerfile.export(both, wishes())


@pytest.mark.slow
@pytest.mark.parametrize(("port", "bind"), [("5000", "0.0.0.0:5000"), (None, "0.0.0.0:8001")])
def test_a_shell_has_the_words_of_the_procfile(
    odd: Cluster, tmp_path: Path, port: str | None, bind: str
) -> None:
    text = text_of(procfile.export([odd], wishes()), "Procfile")
    process, _, line = text.rstrip("\n").partition(": ")
    assert process == "web"
    shim = tmp_path / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    shim.chmod(0o755)
    environ = {"PATH": str(shim.parent)} | ({"PORT": port} if port else {})
    for shell in filter(None, (shutil.which("sh"), shutil.which("bash"))):
        done = subprocess.run(
            [shell, "-c", line], env=environ, capture_output=True, text=True, check=True
        )
        words = json.loads(done.stdout)
        settings = settings_of(words[3:])
        assert settings == replace(odd.settings, bind=(bind,), chdir=settings.chdir)


def test_process_types_are_what_foreman_and_honcho_read(tmp_path: Path) -> None:
    both = [cluster(tmp_path, name="Shop_1.v2"), cluster(tmp_path, name="blog")]
    text = text_of(procfile.export(both, wishes()), "Procfile")
    assert [line.partition(": ")[0] for line in text.splitlines()] == ["Shop_1-v2", "blog"]
    clash = [cluster(tmp_path, name="a.b"), cluster(tmp_path, name="a-b")]
    with pytest.raises(LauncherError, match="would both be called 'a-b'"):
        procfile.export(clash, wishes())


# All of them


@each_engine
@pytest.mark.parametrize("bind", ["unix:/run/shop.sock", "127.0.0.1:0", "fd://3"])
def test_a_container_has_ports_and_nothing_else(tmp_path: Path, engine: str, bind: str) -> None:
    with pytest.raises(LauncherError, match="--bind"):
        ENGINES[engine]([cluster(tmp_path, bind=(bind,))], wishes())


@pytest.mark.parametrize("engine", ["compose", "kubernetes", "quadlet"])
def test_probes_need_a_status_address(tmp_path: Path, engine: str) -> None:
    with pytest.raises(LauncherError, match="status_bind"):
        ENGINES[engine]([cluster(tmp_path, status_bind=None)], wishes())


@each_engine
def test_a_file_that_is_in_no_image_is_refused(tmp_path: Path, engine: str) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere.py"
    project.mkdir()
    elsewhere.write_text("")
    subject = cluster(project, gunicorn_config=str(elsewhere))
    with pytest.raises(LauncherError, match="not in an image of it"):
        ENGINES[engine]([subject], wishes())


def test_paths_are_those_within_the_project(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    config = tmp_path / "conf.py"
    config.write_text("")
    subject = cluster(tmp_path / "web", gunicorn_config=str(config))
    file = str(tmp_path / "cluster.toml")
    subject = replace(subject, settings=replace(subject.settings, config=file))
    words = services(subject)["shop"]["command"]
    assert words[words.index("--chdir") + 1] == "web"
    assert words[words.index("--gunicorn-config") + 1] == "conf.py"
    assert "--config" not in words


@each_engine
def test_low_ports_are_had_without_a_privilege(tmp_path: Path, engine: str) -> None:
    text = ENGINES[engine]([cluster(tmp_path, bind=(":80",))], wishes())[0].text
    if engine != "dockerfile":
        assert "net.ipv4.ip_unprivileged_port_start" in text
        assert "unprivileged" not in ENGINES[engine]([cluster(tmp_path)], wishes())[0].text
