"""HAProxy: a whole file with a backend for each cluster, checked at its status address."""

from collections.abc import Sequence

from launcher.errors import LauncherError
from launcher.export.proxies import CONNECT, bracketed, host_rule, servers, status_of
from launcher.export.terms import Cluster, File, Wishes

__all__ = ["DRAIN", "export"]

CHECK_EVERY = 1
FALL = 2
DRAIN = FALL * CHECK_EVERY + 3
"""Seconds in which the checks of a server that drains have failed, with some to spare."""

TEXT = """\
# Without maxconn of its own HAProxy takes as many connections as its descriptors allow.
defaults
    mode http
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout client 60s
    # A websocket may be silent for so long.
    timeout tunnel 1h
    timeout connect {connect}s
    option forwardfor
    option redispatch 1
    retries 3

frontend web
    bind :80
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
{rules}    default_backend {first}
"""

BACKEND = """\

backend {name}
    balance leastconn
    # queue-timeout + timeout + 5 s: by then the launcher has answered, if only 503 or 504.
    timeout server {answer}s
    timeout queue {queue}s
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    # Where nothing has come back, only what is safe may be sent once more; else only what
    # has not been sent. 503 and 504 are answers.
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    # No shutdown-sessions: a server that drains finishes what it has.
    default-server check inter {every}s fall {fall} rise 2 slowstart 15s{most}
    default-server init-addr last,libc,none
{servers}"""


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``haproxy.cfg``. Of several clusters the Host decides: shop.example goes to shop."""
    rules = [
        f"    use_backend {cluster.name} if {{ hdr_beg(host) -i {host_rule(cluster)} }}\n"
        for cluster in (clusters if len(clusters) > 1 else ())
    ]
    head = TEXT.format(connect=CONNECT, rules="".join(rules), first=clusters[0].name)
    return [File("haproxy.cfg", head + "".join(_backend(cluster, wishes) for cluster in clusters))]


def _backend(cluster: Cluster, wishes: Wishes) -> str:
    settings = cluster.settings
    # With auto each host has its own number of workers.
    most = f" maxconn {settings.workers * settings.threads_max * 2}" if settings.workers else ""
    return BACKEND.format(
        name=cluster.name,
        answer=cluster.answer_within,
        queue=max(1, round(settings.queue_timeout)),
        every=CHECK_EVERY,
        fall=FALL,
        most=most,
        servers=_drain(cluster) + _servers(cluster, wishes),
    )


def _drain(cluster: Cluster) -> str:
    drain = cluster.settings.drain
    if drain >= DRAIN:
        return ""
    return (
        f"    # drain is {drain:g} s: a stop costs what is sent before a check notices."
        f" Set it to {DRAIN}.\n"
    )


def _servers(cluster: Cluster, wishes: Wishes) -> str:
    status = status_of(cluster, wishes)
    lines = []
    for number, server in enumerate(servers(cluster, wishes), 1):
        where = f"{bracketed(server.host)}:{server.port}" if server.port else _socket(server.path)
        # Behind a host of its own the status address is at the same one.
        asked = "" if wishes.hosts or server.host == status.host else f" addr {status.host}"
        lines.append(f"    server {cluster.name}-{number} {where}{asked} port {status.port}\n")
    return "".join(lines)


def _socket(path: str) -> str:
    """In single quotes nothing has a meaning (HAProxy, "Quoting and escaping"), but for ``$``.

    HAProxy puts variables into every address, after it has taken the quotes away.
    """
    if "$" in path or not path.isprintable():
        raise LauncherError(f"{path!r} cannot be written for HAProxy: give it a plainer name")
    return "'unix@" + path.replace("'", "'\\''") + "'"
