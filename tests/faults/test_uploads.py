"""Uploads that stall, find a full disk, or lose their worker: they cost others nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from tests.faults.tools import control, descriptors, pids, settled_descriptors
from tests.http.wire import Wire, chunked, head
from tests.support import APPS, Cluster, StartCluster, eventually

MB = 1 << 20
BODY = random.Random(6).randbytes(3 * MB)
STALLED = 64
CURT = ("--gunicorn-config", str(APPS / "curt.conf.py"))
"""Silence may last for 1.5 s."""


@pytest.fixture
def count(tmp_path: Path) -> Path:
    """Where the app writes down how far it has come."""
    path = tmp_path / "count"
    path.touch()
    return path


def digest(body: bytes) -> str:
    return f"{len(body)} {sha256(body).hexdigest()}"


def upload(body: bytes, *fields: str, path: str = "/digest") -> bytes:
    return head("POST", path, f"Content-Length: {len(body)}", *fields) + body


def ask(cluster: Cluster, request: bytes) -> tuple[int, str]:
    with Wire(cluster.address) as wire:
        response = wire.send(request).response()
        return response.status, response.text


# The worker goes


@pytest.mark.parametrize(
    ("kind", "how"),
    [("tcp", "length"), ("tcp", "chunked"), ("tcp", "asks first"), ("unix", "asks first")],
)
def test_an_upload_whose_worker_dies_gets_502_and_never_runs_again(
    start_cluster: StartCluster, tmp_path: Path, count: Path, kind: str, how: str
) -> None:
    where = ("--bind", f"unix:{tmp_path}/socket") if kind == "unix" else ()
    options = ("-w", "2", "--threads", "4", *where)
    cluster = start_cluster("uploads:application", *options, COUNT_FILE=str(count)).ready()
    length = "Transfer-Encoding: chunked" if how == "chunked" else f"Content-Length: {len(BODY)}"
    fields = (length, "Expect: 100-continue") if how == "asks first" else (length,)
    with Wire(f"{tmp_path}/socket" if kind == "unix" else cluster.address) as wire:
        wire.send(head("POST", "/digest", *fields))
        if how == "asks first":
            assert wire.interim() == 100
        wire.send(chunked(BODY[: 2 * MB])[:-9] if how == "chunked" else BODY[: 2 * MB])
        eventually(lambda: count.read_text() == "begun \n")
        (worker,) = (each for each in cluster.workers() if each["active"])
        os.kill(worker["pid"], signal.SIGKILL)
        response = wire.response()
        assert (response.status, response.closes) == (502, True)
    cluster.ready()
    assert ask_all(cluster, kind) == {200}
    assert count.read_text() == "begun \n"


def ask_all(cluster: Cluster, kind: str) -> set[int]:
    """The statuses of some requests: were the upload run again, it would run by now."""
    address = cluster.status()["bind"][0].removeprefix("unix:") if kind == "unix" else None
    with Wire(address or cluster.address) as wire:
        return {wire.ask("/x").status for _ in range(8)}


def test_what_is_left_of_a_refused_upload_is_never_a_request(
    start_cluster: StartCluster, count: Path
) -> None:
    """Also when the worker that refused it dies before it has come."""
    options = ("-w", "2", "--threads", "4")
    cluster = start_cluster("uploads:application", *options, COUNT_FILE=str(count)).ready()
    with Wire(cluster.address) as wire:
        wire.send(head("POST", "/refuse", "Content-Length: 300000000"))
        assert wire.response().status == 401
        for pid in pids(cluster).values():
            os.kill(pid, signal.SIGKILL)
        wire.send_what_it_takes(upload(b"smuggled"))
        eventually(cluster.ready)
        assert ask_all(cluster, "tcp") == {200}
        wire.send_what_it_takes(upload(b"smuggled"))
        assert ask_all(cluster, "tcp") == {200}
    assert count.read_text() == ""


@pytest.mark.parametrize("change", ["reload", "stop"])
def test_an_upload_goes_on_in_a_worker_that_leaves(
    start_cluster: StartCluster, count: Path, change: str
) -> None:
    cluster = start_cluster("uploads:application", "-w", "1", COUNT_FILE=str(count)).ready()
    with Wire(cluster.address) as wire:
        wire.send(upload(BODY)[: 2 * MB])
        eventually(lambda: count.read_text() == "begun \n")
        if change == "reload":
            control(cluster, "reload")
        else:
            cluster.process.terminate()
            eventually(lambda: "stopping" in cluster.log)
        response = wire.send(upload(BODY)[2 * MB :]).response()
        assert (response.status, response.text) == (200, digest(BODY))
        if change == "reload":
            assert wire.ask("/x").text == "/x", "of the new worker"
            assert pids(cluster)
    if change == "stop":
        assert cluster.process.wait(10) == 0


def test_an_upload_that_stalls_does_not_hold_up_a_stop(
    start_cluster: StartCluster, tmp_path: Path, count: Path
) -> None:
    config = tmp_path / "conf.py"
    config.write_text(
        "from launcher.policy.serving.patience import Patience\n"
        "from launcher.worker.serving.service import Service\n"
        "Service.patience = Patience(last_silence=0.5)\n"
    )
    options = ("-w", "1", "--gunicorn-config", str(config))
    cluster = start_cluster("uploads:application", *options, COUNT_FILE=str(count)).ready()
    with Wire(cluster.address) as wire:
        wire.send(upload(BODY)[: 2 * MB])
        eventually(lambda: count.read_text() == "begun \n")
        cluster.process.terminate()
        assert wire.response().status == 408
        assert cluster.process.wait(10) == 0


# Clients that stall


def kept(cluster: Cluster, folder: Path) -> int:
    """Bytes of the files without a name that workers have in a folder."""
    total = 0
    for pid in pids(cluster).values():
        for number, path in descriptors(pid).items():
            if path.startswith(f"{folder}/"):
                total += os.stat(f"/proc/{pid}/fd/{number}").st_size
    return total


def opened(pid: int) -> list[str]:
    """What a worker has open, but for what its threads, of which there are more by and by, have."""
    return [path for path in settled_descriptors(pid).values() if not path.startswith("/proc/")]


@pytest.mark.parametrize("coding", ["length", pytest.param("chunked", marks=pytest.mark.long)])
def test_stalled_uploads_cost_little_and_leave(
    start_cluster: StartCluster, tmp_path: Path, coding: str
) -> None:
    """The honest go on meanwhile, large and small."""
    (tmp_path / "bodies").mkdir()
    options = ("-w", "2", "--threads", f"{STALLED}", *CURT)
    environment = {"TMPDIR": str(tmp_path / "bodies")}
    cluster = start_cluster("uploads:application", *options, **environment).ready()
    length = "Content-Length: 300000000" if coding == "length" else "Transfer-Encoding: chunked"
    began = head("POST", "/digest", length) + (b"" if coding == "length" else b"fffffff\r\n")
    before = {pid: len(opened(pid)) for pid in pids(cluster).values()}
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(cluster.address)) for _ in range(STALLED)]
        for wire in wires:
            wire.send(began + BODY[: 2 * MB])
        for _ in range(2):
            assert ask(cluster, upload(BODY)) == (200, digest(BODY))
            assert ask(cluster, upload(BODY[:500_000])) == (200, digest(BODY[:500_000]))
            assert kept(cluster, tmp_path / "bodies") <= STALLED * MB
        assert {wire.response().status for wire in wires} == {408}
    eventually(lambda: cluster.status()["connections"] == 0)
    assert not any(each["active"] for each in cluster.workers())
    for pid, number in before.items():
        assert len(opened(pid)) <= number, "nothing stays open"


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted only by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


FULL = "cannot keep the body of a request: No space left on device"

Fill = Callable[[Cluster], None]


@pytest.fixture
def fill() -> Iterator[Fill]:
    """Begin uploads that are kept, until the disk is full and more."""
    with ExitStack() as stack:

        def begin(cluster: Cluster) -> None:
            wires = [stack.enter_context(Wire(cluster.address)) for _ in range(16)]
            for wire in wires:
                wire.send_what_it_takes(upload(BODY[:MB])[: MB - 1000])
            eventually(lambda: FULL in cluster.log)

        yield begin


def test_a_full_disk_does_not_keep_the_honest_from_going_on(
    start_cluster: StartCluster, small_disk: Path, fill: Fill
) -> None:
    """Where nothing can be kept the app begins, and reads what comes."""
    options = ("-w", "1", "--threads", "64")
    cluster = start_cluster("uploads:application", *options, TMPDIR=str(small_disk)).ready()
    fill(cluster)
    for _ in range(3):
        assert ask(cluster, upload(BODY)) == (200, digest(BODY))
        assert ask(cluster, upload(BODY[: MB - 1])) == (200, digest(BODY[: MB - 1]))
        whole = head("POST", "/digest", "Transfer-Encoding: chunked") + chunked(BODY[:800_000])
        assert ask(cluster, whole)[0] in (200, 503), (
            "it is whole, and there is no room to decode it"
        )
    assert cluster.log.count(FULL) == 1
    assert "Traceback" not in cluster.log


def test_where_no_thread_is_left_it_is_503_and_one_line(
    start_cluster: StartCluster, small_disk: Path, fill: Fill
) -> None:
    options = ("-w", "1", "--threads", "1", *CURT)
    cluster = start_cluster("uploads:application", *options, TMPDIR=str(small_disk)).ready()
    fill(cluster)
    with Wire(cluster.address) as wire:
        response = wire.send(upload(BODY[: MB - 1])).response()
        assert (response.status, response.closes) == (503, True)
        assert response.fields["retry-after"]
    assert ask(cluster, upload(BODY[:200_000])) == (200, digest(BODY[:200_000])), "in memory"
    assert cluster.log.count(FULL) == 1
    assert "Traceback" not in cluster.log
    # Those that have filled it are sent away for their silence.
    eventually(lambda: ask(cluster, upload(BODY[: MB - 1])) == (200, digest(BODY[: MB - 1])))
