"""nginx: a whole file with an upstream for each cluster.

It has no active checks, so what counts is what it does when a server does not answer.
"""

from collections.abc import Sequence

from launcher.export.proxies import CONNECT, Server, bracketed, host_rule, servers
from launcher.export.terms import Cluster, File, Wishes

__all__ = ["export"]

KEPT = 60
"""Seconds that nginx keeps an idle connection, unless the cluster closes it before."""

TEXT = """\
worker_processes auto;
worker_rlimit_nofile 65536;

events {{
    worker_connections 16384;
}}

http {{
    # For server names of the longest there are.
    server_names_hash_bucket_size 128;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout {connect}s;
    # What could not be sent goes to the next server; of what was sent, only what is safe.
    # 503 and 504 are answers.
    proxy_next_upstream error;
{clusters}}}
"""

CLUSTER = """
    upstream {name} {{
        zone {name} 64k;
        least_conn;
{servers}{kept}    }}

    server {{
        listen 80{default};
        server_name {host};
        client_max_body_size {body};
        # queue-timeout + timeout + 5 s: by then the launcher has answered, if only 503 or 504.
        proxy_read_timeout {answer}s;
        proxy_send_timeout {answer}s;

        location / {{
            proxy_pass http://{name};
        }}
    }}
"""


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``nginx.conf``. Of several clusters the Host decides: shop.example goes to shop."""
    several = len(clusters) > 1
    texts = [
        _cluster(cluster, wishes, first=number == 0, several=several)
        for number, cluster in enumerate(clusters)
    ]
    return [File("nginx.conf", TEXT.format(connect=CONNECT, clusters="".join(texts)))]


def _cluster(cluster: Cluster, wishes: Wishes, *, first: bool, several: bool) -> str:
    settings = cluster.settings
    return CLUSTER.format(
        name=cluster.name,
        servers="".join(_server(server) for server in servers(cluster, wishes)),
        kept=_kept(settings.keepalive),
        default=" default_server" if first else "",
        host=f"{host_rule(cluster)}*" if several else "_",
        body=settings.limit_request_body,
        answer=cluster.answer_within,
    )


def _kept(keepalive: float) -> str:
    """Idle connections are closed by nginx before the cluster does: else a POST might meet that."""
    seconds = int(min(KEPT, keepalive - 5 if keepalive >= 10 else keepalive / 2))
    if seconds < 1:
        return ""
    return f"        keepalive 64;\n        keepalive_timeout {seconds}s;\n"


def _server(server: Server) -> str:
    """Out for two seconds after it refused: it may be back, and asking it costs little."""
    if not server.path:
        return (
            f"        server {bracketed(server.host)}:{server.port} max_fails=1 fail_timeout=2s;\n"
        )
    path = server.path.replace("\\", "\\\\").replace('"', '\\"')
    return f'        server "unix:{path}" max_fails=1 fail_timeout=2s;\n'
