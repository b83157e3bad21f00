"""Kubernetes: a Deployment, a Service and a PodDisruptionBudget for each cluster.

The figures are those of the cluster: see the comments that go with them.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.errors import UsageError
from launcher.export.containers import HOME, USER, command, image, ports, unprivileged, variables
from launcher.export.terms import Cluster, File, Wishes, refuse_same_names
from launcher.export.yaml import Noted, document

__all__ = ["export"]

PRE_STOP = 10
"""Seconds that a pod goes on as before while the proxies learn that it leaves."""

STARTUP_PERIOD = 2
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``NAME.yaml`` for each cluster; with ``--hpa`` also a HorizontalPodAutoscaler."""
    refuse_same_names(clusters, label)
    return [
        File(
            f"{cluster.name}.yaml",
            "---\n".join(map(document, _objects(cluster, wishes))),
        )
        for cluster in clusters
    ]


def label(name: str) -> str:
    """A name for objects: an RFC 1035 label, which begins with a letter."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (text if text[:1].isalpha() else f"app-{text}")[:63].rstrip("-")


def _objects(cluster: Cluster, wishes: Wishes) -> Iterator[dict[str, Any]]:
    yield _deployment(cluster, wishes)
    yield _service(cluster)
    yield _budget(cluster)
    if wishes.hpa:
        yield _autoscaler(cluster)


def _object(kind: str, version: str, cluster: Cluster, spec: Any) -> dict[str, Any]:
    metadata = {"name": label(cluster.name), "labels": _labels(cluster)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _labels(cluster: Cluster) -> dict[str, str]:
    return {"app.kubernetes.io/name": label(cluster.name)}


def _deployment(cluster: Cluster, wishes: Wishes) -> dict[str, Any]:
    replicas = {} if wishes.hpa else {"replicas": 2}
    return _object(
        "Deployment",
        "apps/v1",
        cluster,
        replicas
        | {
            "minReadySeconds": 5,
            "progressDeadlineSeconds": max(600, 2 * math.ceil(cluster.start_within)),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": Noted(
                    {"maxUnavailable": 0, "maxSurge": 1},
                    "A new pod is ready before an old one goes.",
                ),
            },
            "selector": {"matchLabels": _labels(cluster)},
            "template": {
                "metadata": {
                    "labels": _labels(cluster),
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(cluster.status_address().port),
                    },
                },
                "spec": _pod(cluster, wishes),
            },
        },
    )


def _pod(cluster: Cluster, wishes: Wishes) -> dict[str, Any]:
    uid, gid = _ids(wishes.user or USER)
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    security = {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    before = "drain" if cluster.settings.drain else "preStop"
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security | ({} if unprivileged(cluster) else {"sysctls": sysctls}),
        "terminationGracePeriodSeconds": Noted(
            cluster.stop_within + _pre_stop(cluster),
            f"{before} + graceful-timeout + 5 s: then the kubelet kills.",
        ),
        "topologySpreadConstraints": [_spread(cluster, key) for key in (ZONE, HOST)],
        "containers": [_container(cluster, wishes)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _container(cluster: Cluster, wishes: Wishes) -> dict[str, Any]:
    # Where the number of workers is none of the settings, it is that of the CPUs asked for.
    words = command(cluster, leave_out={"workers"} if _sized_by_request(cluster) else frozenset())
    lifecycle = {
        "lifecycle": Noted(
            {"preStop": {"sleep": {"seconds": PRE_STOP}}},
            "TERM and the news that this pod leaves go out at once: proxies get time to hear it.",
        )
    }
    return {
        "name": label(cluster.name),
        "image": image(cluster, wishes),
        # $(NAME) would become the value of a variable, and $$ stands for $.
        "command": [word.replace("$", "$$") for word in words],
        "env": _environment(cluster),
        "ports": [
            {"name": name, "containerPort": port} for name, port in _named_ports(cluster).items()
        ],
        "startupProbe": Noted(
            _probe("/readyz", STARTUP_PERIOD, math.ceil(cluster.start_within / STARTUP_PERIOD)),
            "As long as a start may take: the other probes begin only then.",
        ),
        "readinessProbe": _probe("/readyz", 2, 2),
        "livenessProbe": Noted(
            _probe("/livez", 10, 6),
            "Of the primary alone: a slow app is no reason to be killed.",
        ),
        **({} if cluster.settings.drain else lifecycle),
        "resources": _resources(cluster),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _environment(cluster: Cluster) -> list[Any]:
    secret = label(cluster.name)
    entries: list[Any] = [{"name": "LAUNCHER_HOME", "value": HOME}]
    if _sized_by_request(cluster):
        request = {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}}
        why = "One worker for each CPU that is requested below, rounded up."
        entries.append(Noted({"name": "LAUNCHER_WORKERS", "valueFrom": request}, why))
    values = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in variables(cluster)
    ]
    if values:
        values[0] = Noted(  # type: ignore[call-overload]
            values[0], f"kubectl create secret generic {secret} --from-env-file=FILE"
        )
    return entries + values


def _sized_by_request(cluster: Cluster) -> bool:
    return cluster.settings.workers is None


def _resources(cluster: Cluster) -> dict[str, Any]:
    workers = cluster.settings.workers
    requests: dict[str, Any] = {
        "cpu": Noted(str(workers or 2), "A CPU for each worker. It needs no limit.")
    }
    if workers and cluster.settings.max_memory:
        # One more: while a worker is replaced there are both.
        requests["memory"] = str((workers + 1) * cluster.settings.max_memory)
    return {"requests": requests}


def _pre_stop(cluster: Cluster) -> int:
    """Never beside a drain of its own: both do the same."""
    return 0 if cluster.settings.drain else PRE_STOP


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "status"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _named_ports(cluster: Cluster) -> dict[str, int]:
    *of_app, status = ports(cluster)
    first, *others = of_app
    return {"http": first, **{f"http-{port}": port for port in others}, "status": status}


def _service(cluster: Cluster) -> dict[str, Any]:
    entries = [
        {"name": name, "port": port, "targetPort": name}
        for name, port in _named_ports(cluster).items()
        if name != "status"
    ]
    return _object("Service", "v1", cluster, {"selector": _labels(cluster), "ports": entries})


def _budget(cluster: Cluster) -> dict[str, Any]:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": _labels(cluster)},
    }
    return _object("PodDisruptionBudget", "policy/v1", cluster, spec)


def _autoscaler(cluster: Cluster) -> dict[str, Any]:
    metric = {
        "type": "Pods",
        "pods": {
            "metric": Noted(
                {"name": "launcher_threads_busy_ratio"},
                "For prometheus-adapter; of each pod:",
                "sum(launcher_threads_busy) / sum(launcher_threads_max)",
            ),
            "target": {"type": "AverageValue", "averageValue": "600m"},
        },
    }
    spec = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": label(cluster.name),
        },
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [metric],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object("HorizontalPodAutoscaler", "autoscaling/v2", cluster, spec)


def _spread(cluster: Cluster, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(cluster)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _ids(user: str) -> tuple[int, int]:
    uid, _, gid = user.partition(":")
    if not uid.isdecimal() or not (gid or uid).isdecimal() or not int(uid):
        raise UsageError(f"--user: {user!r} is no number above 0, and Kubernetes knows no names")
    return int(uid), int(gid or uid)
