"""Large bodies: they cost what is read of them, not the square of it, and no memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from launcher.worker.request.parsing import _Source
from tests.cluster.tools import resident_bytes
from tests.faults.tools import pids
from tests.support import StartCluster

MIB = 1 << 20

APP = """
import hashlib

def app(environ, start_response):
    digest, size, pieces = hashlib.md5(), 0, 0
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
        size += len(piece)
        pieces += 1
    body = f"{size} {pieces} {digest.hexdigest()}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_four_large_bodies_at_once_fit_into_little_memory(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    (tmp_path / "reads.py").write_text(APP)
    cluster = start_cluster("reads:app", "-w", "1", "--chdir", str(tmp_path)).ready()
    before = resident_bytes(pids(cluster)[0])
    answers: list[str] = []

    def upload(url: str, data: Any) -> None:
        answers.append(requests.post(url, data=data, timeout=60).text)

    def chunks() -> Iterator[bytes]:
        yield from [b"x" * MIB] * 64

    bodies = [b"x" * 64 * MIB, chunks(), b"x" * 64 * MIB, chunks()]
    threads = [threading.Thread(target=upload, args=(cluster.url, body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len({*answers}) == 1
    assert answers[0].startswith(f"{64 * MIB} 1024 ")
    assert resident_bytes(pids(cluster)[0]) - before < 32 * MIB


def test_however_much_is_asked_for_a_block_is_read(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"x" * MIB)
    source = _Source(b"", complete=True)
    with path.open("rb") as file:
        source.read_from(file)
        assert len(source.chunk(MIB)) == 65536
        assert len(source.chunk(10)) == 10
