"""The reference app: each route in process, then on a real socket without the launcher."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from launcher import current_worker

ROUTES = ["/", "/whoami", "/clustered", "/healthz"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def client() -> FlaskClient:
    return create_app().test_client()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a worker of some cluster."""
    monkeypatch.setattr(current_worker, "id", 7)
    monkeypatch.setattr(current_worker, "slot", 2)
    monkeypatch.setattr(current_worker, "generation", 3)


@pytest.mark.usefixtures("worker")
def test_clustered_names_the_worker_and_nothing_else(client: FlaskClient) -> None:
    response = client.get("/clustered")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    assert response.data == b"Running on worker with id #7"


def test_the_worker_is_asked_for_on_each_request(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/clustered").text == "Running on worker with id #0"
    monkeypatch.setattr(current_worker, "id", 12)
    assert client.get("/clustered").text == "Running on worker with id #12"


def test_healthz(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    assert response.data == b"ok"


@pytest.mark.usefixtures("worker")
def test_whoami(client: FlaskClient) -> None:
    response = client.get("/whoami")
    assert response.mimetype == "application/json"
    assert response.json == {"id": 7, "slot": 2, "generation": 3, "pid": os.getpid()}


@pytest.mark.usefixtures("worker")
def test_the_page_shows_the_worker_without_javascript(client: FlaskClient) -> None:
    response = client.get("/")
    page = re.sub(r"<.*?>", "", response.text)
    assert response.mimetype == "text/html"
    assert "Worker #7 sent this page" in page
    assert f"slot 2 · generation 3 · process {os.getpid()}" in page
    assert "No cluster here" not in page


def test_the_page_says_when_there_is_no_cluster(client: FlaskClient) -> None:
    page = client.get("/").text
    assert "Worker #0" in page
    assert "No cluster here" in page


def test_the_page_needs_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/").text
    named = {*re.findall(r'(?:src|href)="(.*?)"', page)}
    static = {"/static/workers.css", "/static/workers.js"}
    assert named == {"data:,", "/clustered", "/healthz", *static}
    for path in named - {"data:,"}:
        with client.get(path) as response:
            assert response.status_code == 200
            assert not re.search(r"//\w", response.get_data(as_text=True))


def test_the_page_runs_only_what_the_app_serves(client: FlaskClient) -> None:
    response = client.get("/")
    rules = response.headers["Content-Security-Policy"].split("; ")
    assert rules[0] == "default-src 'none'"
    assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= {*rules}
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?![^>]* src=)|<[^>]* (?:style|on\w+)=", response.text)


@pytest.mark.parametrize("path", ["/", "/whoami"])
def test_the_page_and_its_data_are_dealt_anew_each_time(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["Connection"] == "close"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/clustered", "/healthz"])
def test_the_plain_routes_keep_the_connection(client: FlaskClient, path: str) -> None:
    assert "Connection" not in client.get(path).headers


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_get_without_the_body(client: FlaskClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.data == b""
    assert head.content_type == get.content_type
    assert head.content_length == len(get.data)


@pytest.mark.parametrize("path", ROUTES)
def test_the_routes_only_read(client: FlaskClient, path: str) -> None:
    response = client.post(path)
    assert response.status_code == 405
    assert set(response.allow) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", ["/nowhere", "/clustered/", "/static/x"])
def test_anything_else_is_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.fixture(
    params=[
        pytest.param(["flask", "run", "-p", "0"], id="flask"),
        pytest.param(["flask", "--app", "app", "run", "-p", "0"], id="flask --app"),
        pytest.param(
            ["gunicorn", "app:create_app()", "-b", "127.0.0.1:0", "--no-control-socket"],
            id="gunicorn",
        ),
    ]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HTTPConnection]:
    """A connection to the app, served by a process that is not the launcher."""
    foreign = ("FLASK_", "GUNICORN_", "WEB_CONCURRENCY")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *request.param],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        connection = HTTPConnection("127.0.0.1", _announced_port(process, log), timeout=10)
        yield connection
        connection.close()
    finally:
        _end(process)


def _announced_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    pytest.fail(f"the server did not listen (status {process.poll()}):\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_the_app_runs_without_the_launcher(server: HTTPConnection) -> None:
    server.request("GET", "/clustered")
    response = server.getresponse()
    assert response.status == 200
    assert response.headers.get_content_type() == "text/plain"
    assert response.read() == b"Running on worker with id #0"
