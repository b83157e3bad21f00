"""One request, one line: what is in it, and that nothing a client sends can make it two."""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import Any

from launcher.logs.cleaning import printable_lines
from tests.support import Cluster, StartCluster, eventually

HOSTILE = "\x1b[31m\x9b2J\u202ex\u2066\x7f"
"""Escape sequences, C1, bidi, DEL."""

TEXT = re.compile(
    r'(?P<remote>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<request>(?:[^"\\]|\\.)*)"'
    r' (?P<status>\d+|-) (?P<bytes>\d+) "(?P<referer>(?:[^"\\]|\\.)*)"'
    r' "(?P<agent>(?:[^"\\]|\\.)*)" worker=(?P<worker>\d+) slot=(?P<slot>\d+)'
    r" time=(?P<duration>\d+\.\d{6})"
)


def send(cluster: Cluster, head: str, body: bytes = b"") -> bytes:
    """Send a request as it is, as UTF-8, and read until the end."""
    with socket.create_connection(cluster.address, 30) as client:
        client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        return b"".join(iter(lambda: client.recv(65536), b""))


def lines_after(cluster: Cluster, count: int) -> list[str]:
    """The log of slot 0 once it has so many lines of the access log."""

    def look() -> list[str]:
        text = (cluster.home / "chatty" / "logs" / "0.log").read_text()
        lines = [line for line in text.split("\n") if "worker=" in line or '"worker_id"' in line]
        assert len(lines) >= count
        return lines

    return eventually(look)


def send_hostile_requests(cluster: Cluster, before: int) -> list[str]:
    """The lines of the log that come of it; ``before``: how many there were."""
    shy = "\x9b2J\u202ex\u2066\u2028"  # what gunicorn lets through in a field
    credentials = base64.b64encode(f"u\n{HOSTILE}:p".encode()).decode()
    heads = [
        f"GET /%1b%0d%0a{shy}?q={shy}%0a HTTP/1.1\r\nHost: x\r\n",
        f'GET /fail HTTP/1.1\r\nHost: x\r\nUser-Agent: {shy}"\\\r\nReferer: {shy}" 200 "\r\n',
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {shy}\r\nUser-Agent: {HOSTILE}\r\n",
        f"GET /{HOSTILE} HTTP/1.1\r\nHost: x\r\n",
        f"G{HOSTILE} / HTTP/1.1\r\nHost: x\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX{HOSTILE}: y\r\n",
    ]
    for head in heads:
        send(cluster, head)
    lines = lines_after(cluster, before + len(heads))
    assert len(lines) == before + len(heads), "one request is one line"
    text = (cluster.home / "chatty" / "logs" / "0.log").read_bytes().decode()
    assert printable_lines(text) == text
    return lines[before:]


def background(start: StartCluster, *arguments: str) -> Cluster:
    return start("-w", "1", "--access-log", *arguments)


def test_text(start_background: StartCluster) -> None:
    cluster = background(start_background)
    send(
        cluster,
        "GET /say/hello?a=1&b=%0a HTTP/1.1\r\nHost: x\r\nUser-Agent: me/1.0\r\n"
        "Referer: http://there/\r\n"
        f"Authorization: Basic {base64.b64encode(b'jo smith:secret').decode()}\r\n",
    )
    send(cluster, "GET /nowhere HTTP/1.0\r\nHost: x\r\n")
    send(cluster, "GET /fail HTTP/1.1\r\nHost: x\r\nUser-Agent: me/1.0\r\n")
    reply = send(cluster, "NONSENSE\r\n")
    found = [TEXT.fullmatch(line) for line in lines_after(cluster, 4)]
    assert all(found)
    first, second, third, fourth = [match.groupdict() for match in found if match]
    assert first["remote"] == "127.0.0.1"
    assert first["user"] == r"jo\x20smith"
    assert re.fullmatch(r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", first["time"])
    assert first["request"] == "GET /say/hello?a=1&b=%0a HTTP/1.1"
    assert (first["status"], first["bytes"]) == ("200", "2")
    assert (first["referer"], first["agent"]) == ("http://there/", "me/1.0")
    assert (first["worker"], first["slot"]) == ("1", "0")
    assert 0 < float(first["duration"]) < 10
    assert (second["request"], second["status"]) == ("GET /nowhere HTTP/1.0", "404")
    assert (second["user"], second["referer"], second["agent"]) == ("-", "-", "-")
    assert (third["request"], third["status"], third["agent"]) == (
        "GET /fail HTTP/1.1",
        "500",
        "me/1.0",
    )
    assert (fourth["request"], fourth["status"]) == ("-", "400")
    assert int(fourth["bytes"]) == len(reply.partition(b"\r\n\r\n")[2])
    assert all(map(TEXT.fullmatch, send_hostile_requests(cluster, 4)))


def test_json(start_background: StartCluster) -> None:
    cluster = background(start_background, "--log-format", "json")
    send(cluster, "GET /say/hi?a=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: größe\r\nReferer: r\r\n")
    send(cluster, "NONSENSE\r\n")
    values: list[dict[str, Any]] = [json.loads(line) for line in lines_after(cluster, 2)]
    first, second = values
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert 0 < first.pop("duration") < 10
    assert first == {
        "worker_id": 1,
        "slot": 0,
        "remote": "127.0.0.1",
        "user": None,
        "method": "GET",
        "path": "/say/hi",
        "query": "a=1",
        "status": 200,
        "bytes": 2,
        "referer": "r",
        "user_agent": "größe",
    }
    assert (second["method"], second["path"], second["status"]) == (None, None, 400)
    assert {json.loads(line)["slot"] for line in send_hostile_requests(cluster, 2)} == {0}


def test_what_takes_too_long_has_its_line(start_background: StartCluster) -> None:
    cluster = background(start_background, "--timeout", "0.5", "--log-format", "json")
    assert send(cluster, "GET /sleep HTTP/1.1\r\nHost: x\r\n").startswith(b"HTTP/1.1 504 ")
    values = json.loads(lines_after(cluster, 1)[0])
    assert (values["path"], values["status"], values["duration"]) == ("/sleep", 504, 0.5)


def test_a_format_of_gunicorns_own(start_background: StartCluster, tmp_path: Any) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("access_log_format = 'worker=own %(m)s %(U)s %(s)s \"%({x-y}i)s\"'\n")
    cluster = background(start_background, "--gunicorn-config", str(conf))
    send(cluster, 'GET /%1b%0a HTTP/1.1\r\nHost: x\r\nX-Y: \x9b"\r\n')
    send(cluster, "GET /fail HTTP/1.1\r\nHost: x\r\n")
    assert lines_after(cluster, 2) == [
        r'worker=own GET /\x1b\n 404 "Â\x9b\""',
        'worker=own GET /fail 500 "-"',
    ]


def test_off_it_is_not_there_at_all() -> None:
    from launcher.worker.exchange.access_log import access_log

    class Log:
        access_log_enabled = False

    log: Any = Log()
    assert access_log(log, "json") is None


def test_in_the_foreground_it_is_on_stdout(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--access-log", "--log-format", "json").ready()
    send(cluster, "GET /clustered HTTP/1.1\r\nHost: x\r\n")
    line = eventually(lambda: [line for line in cluster.log.splitlines() if '"path"' in line])[0]
    assert json.loads(line)["path"] == "/clustered"
