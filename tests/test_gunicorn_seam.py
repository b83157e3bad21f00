"""What we rely on inside gunicorn, named one by one.

We override and call internals that gunicorn promises nobody. Each test here is
the contract for one of them; a version that breaks one fails here, by name,
before it fails in a cluster.
"""

# mypy: disallow-untyped-calls=false

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import signal
import socket
import types
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import gunicorn
import pytest
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader
from gunicorn.http.wsgi import FileWrapper, Response, create
from gunicorn.workers.base import Worker

import launcher.pool.arbiter
import launcher.pool.loading.application
import launcher.pool.logger
import launcher.worker.exchange.response
import launcher.worker.process
import launcher.worker.request.parsing
from launcher.config.settings import Settings
from launcher.pool.loading.application import _ours
from launcher.pool.loading.supported import why_not
from launcher.worker.exchange.error_pages import Captured, error_page


def test_it_is_a_version_that_the_pool_takes() -> None:
    assert version("gunicorn") == gunicorn.__version__
    assert why_not(gunicorn.__version__) is None


# Names and signatures

OVERRIDDEN = {
    launcher.pool.arbiter.Arbiter: {
        "__init__": "(self, app)",
        "setup": "(self, app)",
        "start": "(self)",
        "init_signals": "(self)",
        "run": "(self)",
        "manage_workers": "(self)",
        "reap_workers": "(self)",
    },
    launcher.pool.loading.application.Application: {
        "__init__": "(self, usage=None, prog=None)",
        "do_load_config": "(self)",
        "load_config": "(self)",
        "load": "(self)",
    },
    launcher.pool.logger.Logger: {
        "setup": "(self, cfg)",
        "access": "(self, resp, req, environ, request_time)",
    },
    launcher.worker.process.Worker: {
        "init_process": "(self)",
        "load_wsgi": "(self)",
        "init_signals": "(self)",
        "handle_exit": "(self, sig, frame)",
        "handle_usr1": "(self, sig, frame)",
        "run": "(self)",
    },
    launcher.worker.exchange.response.Response: {
        "__init__": "(self, req, sock, cfg)",
        "start_response": "(self, status, headers, exc_info=None)",
        "_response_omits_body": "(method, status)",
        "_response_forbids_content_length": "(status)",
        "write": "(self, arg)",
        "process_headers": "(self, headers)",
        "send_headers": "(self)",
        "_emit_body": "(self, data)",
        "close": "(self)",
        "sendfile": "(self, respiter)",
    },
    launcher.worker.request.parsing._Source: {
        "__init__": "(self)",
        "chunk": "(self, size_hint=None)",
    },
}

CALLED: list[tuple[Callable[..., Any], str]] = [
    (Arbiter.spawn_worker, "(self)"),
    (BaseApplication.wsgi, "(self)"),
    (Config.__init__, "(self, usage=None, prog=None)"),
    (Config.set, "(self, name, value)"),
    (util.import_app, "(module)"),
    (util.to_bytestring, "(value, encoding='utf8')"),
    (util.has_fileno, "(obj)"),
    (Worker.handle_error, "(self, req, client, addr, exc)"),
    (create, "(req, sock, client, server, cfg, response_class=None, response_args=())"),
    (Response.start_response, "(self, status, headers, exc_info=None)"),
    (Response.write, "(self, arg)"),
    (Response.write_file, "(self, respiter)"),
    (Response.default_headers, "(self)"),
    (Response.can_sendfile, "(self)"),
    (Response.should_close, "(self)"),
    (Response.force_close, "(self)"),
    (Request.__init__, "(self, cfg, unreader, peer_addr, req_number=1)"),
    (Unreader.read, "(self, size=None, read_ahead=None)"),
    (Body.__init__, "(self, reader)"),
    (Body.read, "(self, size=None)"),
    (Body.readline, "(self, size=None)"),
    (LengthReader.__init__, "(self, unreader, length)"),
    (Logger.access, "(self, resp, req, environ, request_time)"),
]


def overridden(kind: type[Any]) -> dict[str, str]:
    """The methods of gunicorn's that a class of ours replaces, as gunicorn defines them."""
    base = kind.__mro__[1]
    methods = (staticmethod, types.FunctionType)
    names = [name for name, value in vars(kind).items() if isinstance(value, methods)]
    return {
        name: str(inspect.signature(getattr(base, name)))
        for name in names
        if any(name in vars(each) for each in base.__mro__ if each is not object)
    }


@pytest.mark.parametrize("kind", OVERRIDDEN, ids=lambda kind: kind.__name__)
def test_everything_that_is_overridden_is_named_here_and_as_it_was(kind: type[Any]) -> None:
    assert overridden(kind) == OVERRIDDEN[kind]


@pytest.mark.parametrize(
    ("function", "signature"), CALLED, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_everything_that_is_called_takes_what_it_took(
    function: Callable[..., Any], signature: str
) -> None:
    assert str(inspect.signature(function)) == signature


# The arbiter


class QuietWorker(Worker):
    """Boots, tells the test, and leaves."""

    def init_process(self) -> None:
        say("init_process", self.age, self.ppid == os.getppid(), self.sockets, self.timeout)


class OneApp(BaseApplication):
    """An application without a file or a command line. ``settings`` are gunicorn's."""

    def __init__(self, **settings: Any) -> None:
        self.wanted = settings
        self.loads = 0
        super().__init__()

    def load_config(self) -> None:
        assert self.cfg
        for name, value in {"worker_class": QuietWorker, "timeout": 0, **self.wanted}.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        self.loads += 1
        return self.loads


SAID: list[int] = []


def say(*words: object) -> None:
    """Tell the test, from whatever process."""
    os.write(SAID[-1], json.dumps(words, default=str).encode() + b"\n")


@pytest.fixture
def heard() -> Any:
    """What was said so far, by this process and its children."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    SAID.append(write_end)

    def read() -> list[list[Any]]:
        try:
            return [json.loads(line) for line in os.read(read_end, 65536).splitlines()]
        except BlockingIOError:
            return []

    yield read
    SAID.pop()
    os.close(read_end)
    os.close(write_end)


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Any:
    """gunicorn sets a variable and handlers of loggers."""
    monkeypatch.setenv("SERVER_SOFTWARE", "none yet")
    yield
    for name in ("gunicorn.error", "gunicorn.access"):
        log = logging.getLogger(name)
        for handler in ours_of(log):
            log.removeHandler(handler)


def ours_of(log: logging.Logger) -> list[logging.Handler]:
    """The handlers that gunicorn has added; pytest adds others."""
    return [handler for handler in log.handlers if getattr(handler, "_gunicorn", False)]


def forked(function: Callable[[], object]) -> int:
    """Run ``function``, which may fork and never return there; its exit status as a process."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except SystemExit as leaving:
            os._exit(leaving.code if isinstance(leaving.code, int) else 0)
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_tables_of_workers_and_listeners_are_on_the_class() -> None:
    assert Arbiter.WORKERS == {}
    assert Arbiter.LISTENERS == []
    arbiter = Arbiter(OneApp())
    assert arbiter.WORKERS is Arbiter.WORKERS, "so an instance of ours has its own"


def test_setup_takes_the_worker_class_the_log_and_the_timeout_from_the_settings() -> None:
    arbiter = Arbiter(OneApp(timeout=14))
    assert arbiter.worker_class is QuietWorker
    assert isinstance(arbiter.log, Logger)
    assert (arbiter.timeout, arbiter.worker_age, arbiter.WORKERS) == (14, 0, {})


@pytest.mark.parametrize(("preload", "loads"), [(True, 1), (False, 0)])
def test_setup_loads_a_preloaded_app_once(preload: bool, loads: int) -> None:
    app = OneApp(preload_app=preload)
    Arbiter(app)
    assert app.loads == loads
    app.wsgi()
    app.wsgi()
    assert app.loads == 1


HOOKS = {
    "pre_fork": lambda _server, worker: say("pre_fork", worker.pid),
    "post_fork": lambda _server, worker: say("post_fork", worker.pid == os.getpid()),
    "worker_exit": lambda _server, worker: say("worker_exit", worker.pid == os.getpid()),
}


def test_spawn_worker_counts_forks_boots_and_exits_with_its_hooks(heard: Any) -> None:
    def pool() -> None:
        arbiter = Arbiter(OneApp(**HOOKS))
        arbiter.pid = os.getpid()
        arbiter.worker_age = 41
        pid = arbiter.spawn_worker()
        worker = arbiter.WORKERS[pid]
        status = os.waitpid(pid, 0)[1]
        say("spawned", worker.age, worker.pid == pid, status)
        worker.tmp.close()

    assert forked(pool) == 0
    assert heard() == [
        ["pre_fork", "[booting]"],
        ["post_fork", True],
        ["init_process", 42, True, [], 0.0],
        ["worker_exit", True],
        ["spawned", 42, True, 0],
    ]


def test_a_new_worker_leaves_by_system_exit_through_spawn_worker(heard: Any) -> None:
    def pool() -> None:
        arbiter = Arbiter(OneApp())
        arbiter.pid = os.getpid()
        parent = os.getpid()
        try:
            os.waitpid(arbiter.spawn_worker(), 0)
        except SystemExit as leaving:
            say("left", leaving.code, os.getpid() != parent)
            raise

    assert forked(pool) == 0
    assert heard()[-1] == ["left", 0, True]


def test_what_stands_for_the_worker_class_may_be_any_callable(heard: Any) -> None:
    def pool() -> None:
        arbiter = Arbiter(OneApp())
        arbiter.pid = os.getpid()
        real = arbiter.worker_class

        def make(*args: Any) -> Worker:
            say("made", len(args))
            worker: Worker = real(*args)
            return worker

        arbiter.worker_class = make
        os.waitpid(arbiter.spawn_worker(), 0)

    assert forked(pool) == 0
    assert heard()[0] == ["made", 7]


# The worker


class TalkingWorker(Worker):
    """Tells the order in which gunicorn boots it."""

    def load_wsgi(self) -> None:
        say("load_wsgi", os.get_blocking(self.PIPE[0]), os.get_blocking(self.PIPE[1]))

    def init_signals(self) -> None:
        super().init_signals()
        say("init_signals", signal.getsignal(signal.SIGTERM) == self.handle_exit)

    def run(self) -> None:
        say("run", self.booted, self.alive, os.environ["FROM_THE_SETTINGS"])
        os.kill(os.getpid(), signal.SIGTERM)
        say("woken", os.read(self.PIPE[0], 10) == bytes([signal.SIGTERM]), self.alive)


def test_init_process_sets_signals_loads_and_runs_and_a_signal_wakes_the_pipe(heard: Any) -> None:
    settings = {
        "raw_env": ["FROM_THE_SETTINGS=yes"],
        "post_worker_init": lambda worker: say("post_worker_init", worker.booted),
    }

    def process() -> None:
        app = OneApp(**settings)
        worker = TalkingWorker(1, os.getpid(), [], app, 0, app.cfg, Logger(app.cfg))
        worker.init_process()

    assert forked(process) == 0
    assert heard() == [
        ["init_signals", True],
        ["load_wsgi", False, False],
        ["post_worker_init", False],
        ["run", True, True, "yes"],
        ["woken", True, False],
    ]


@pytest.fixture
def worker() -> Worker:
    app = OneApp()
    worker = Worker(3, os.getpid(), [], app, 0, app.cfg, Logger(app.cfg))
    worker.tmp.close()
    return worker


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequestLine("x"), b"400 Bad Request"),
        (errors.LimitRequestLine(9, 8), b"414 URI Too Long"),
        (errors.LimitRequestHeaders("x"), b"431 Request Header Fields Too Large"),
        (errors.UnsupportedTransferCoding("x"), b"501 Bad Request"),
        (errors.ExpectationFailed("x"), b"417 Expectation Failed"),
        (errors.InvalidChunkSize(b"x"), b"400 Bad Request"),
        (errors.InvalidProxyLine("x"), b"400 Bad Request"),
        (errors.ForbiddenProxyRequest("x"), b"403 Forbidden"),
        (ValueError("the app failed"), b"500 Internal Server Error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_handle_error_writes_one_whole_response_that_closes(
    worker: Worker, error: Exception, status: bytes
) -> None:
    page = error_page(lambda sock: worker.handle_error(None, sock, ("127.0.0.1", 1), error))
    head, _, body = page.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nConnection: close\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"the app failed" not in page


def test_handle_error_tells_the_access_log_when_there_is_a_request(worker: Worker) -> None:
    told: list[Any] = []
    worker.log = SimpleNamespace(
        access=lambda *args: told.append(args),
        exception=lambda *_: None,
        debug=lambda *_: None,
    )
    request = parsed(b"GET /failing HTTP/1.1\r\n\r\n")
    worker.handle_error(request, Captured(), ("192.0.2.1", 5), ValueError())
    ((response, same, environ, _),) = told
    assert response.status == "500 Internal Server Error"
    assert same is request
    assert environ["RAW_URI"] == "/failing"


def test_the_errors_of_the_parser_have_one_ancestor() -> None:
    kinds = [value for value in vars(errors).values() if inspect.isclass(value)]
    others = {kind for kind in kinds if not issubclass(kind, errors.ParseException)}
    assert len(kinds) > 20
    assert others == {errors.NoMoreData}
    assert issubclass(errors.NoMoreData, OSError)


# Reading


class Pieces(Unreader):
    """Gives what it was given, piece by piece; at the end raises what it is told to."""

    class End(Exception):
        """No more pieces."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__()
        self.left = list(pieces)
        self.hints: list[int | None] = []

    def chunk(self, size_hint: int | None = None) -> bytes:
        self.hints.append(size_hint)
        if not self.left:
            raise Pieces.End
        return self.left.pop(0)


def config(**settings: Any) -> Config:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    return cfg


def parsed(*pieces: bytes, **settings: Any) -> Any:
    return Request(config(**settings), Pieces(*pieces), ("127.0.0.1", 1234), 1)


def test_the_parser_is_the_one_in_python() -> None:
    assert not parsed(b"GET / HTTP/1.1\r\n\r\n")._use_fast


def test_a_head_comes_out_of_pieces_and_the_source_keeps_the_rest() -> None:
    source = Pieces(b"GET /a?b HT", b"TP/1.1\r\nHo", b"st: x\r\n\r\nmore", b"not read")
    request: Any = Request(config(), source, ("127.0.0.1", 1), 1)
    assert (request.method, request.uri, request.path) == ("GET", "/a?b", "/a")
    assert request.version == (1, 1)
    assert request.headers == [("HOST", "x")]
    assert source.buf.getvalue() == b"more"
    assert source.left == [b"not read"]


def test_only_the_first_request_is_searched_for_a_proxy_header() -> None:
    source = Pieces(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(errors.InvalidRequestLine):
        Request(config(proxy_protocol=True), source, ("127.0.0.1", 1), 2)


def test_who_may_send_a_proxy_header() -> None:
    cfg: Any = config(proxy_allow_ips="192.0.2.0/24,::1")
    assert [*map(str, cfg.proxy_allow_networks())] == ["192.0.2.0/24", "::1/128"]
    assert config(proxy_allow_ips="*").proxy_allow_ips == ["*"]


def test_what_the_source_raises_comes_out_as_it_is() -> None:
    for pieces in ([], [b"GET / HTT"], [b"GET / HTTP/1.1\r\nHost: x\r\n"]):
        with pytest.raises(Pieces.End):
            parsed(*pieces)


def test_an_end_before_the_first_byte_and_one_in_the_head_are_told_apart() -> None:
    with pytest.raises(StopIteration):
        parsed(b"")
    with pytest.raises(errors.NoMoreData):
        parsed(b"GET / HTT", b"")


@pytest.mark.parametrize(
    ("head", "reader", "length"),
    [
        (b"", LengthReader, 0),
        (b"Content-Length: 12\r\n", LengthReader, 12),
        (b"Transfer-Encoding: chunked\r\n", ChunkedReader, None),
    ],
)
def test_the_framing_shows_in_the_reader_of_the_body(
    head: bytes, reader: type[Any], length: int | None
) -> None:
    request = parsed(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
    assert type(request.body.reader) is reader
    assert getattr(request.body.reader, "length", None) == length


def test_an_expectation_is_a_flag_that_can_be_cleared() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    assert parsed(head)._expected_100_continue is True
    assert parsed(b"GET / HTTP/1.1\r\n\r\n")._expected_100_continue is False


def test_the_limits_of_the_settings_are_enforced() -> None:
    line = b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n\r\n"
    with pytest.raises(errors.LimitRequestLine):
        parsed(line, limit_request_line=50)
    fields = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3 + b"\r\n"
    with pytest.raises(errors.LimitRequestHeaders):
        parsed(fields, limit_request_fields=2)
    with pytest.raises(errors.LimitRequestHeaders):
        parsed(fields, limit_request_field_size=5)


def test_a_body_reads_what_is_buffered_then_the_source() -> None:
    source = Pieces(b"56789 and more")
    source.buf = io.BytesIO(b"01234")
    body = Body(LengthReader(source, 10))
    assert body.read() == b"0123456789"
    assert body.read() == b""


def test_a_chunked_body_is_decoded_and_a_malformed_one_refused() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    good = parsed(head + b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\n\r\n")
    assert good.body.read() == b"abcde"
    with pytest.raises(errors.ParseException):
        parsed(head + b"zz\r\nabc\r\n").body.read()
    with pytest.raises(errors.NoMoreData):
        parsed(head + b"5\r\nab", b"").body.read()


# Answering


def made(
    head: bytes = b"GET /p%20q?r=s HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n",
    client: Any = ("192.0.2.7", 77),
    server: Any = ("127.0.0.1", "3000"),
) -> tuple[Any, dict[str, Any]]:
    request = parsed(head)
    request._expected_100_continue = False
    found: tuple[Any, dict[str, Any]] = create(
        request, Captured(), client, server, config(), response_class=Response
    )
    return found


def test_create_makes_the_response_with_what_it_is_given() -> None:
    asked: list[Any] = []
    request, sock, cfg = parsed(b"GET / HTTP/1.1\r\n\r\n"), Captured(), config()

    def factory(*args: Any) -> str:
        asked.append(args)
        return "a response"

    response, _ = create(request, sock, "", "", cfg, response_class=factory)
    assert response == "a response"
    assert asked == [(request, sock, cfg)]


def test_create_makes_the_environ_of_the_request() -> None:
    _, environ = made()
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/p q",
        "QUERY_STRING": "r=s",
        "RAW_URI": "/p%20q?r=s",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "3000",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "77",
        "HTTP_X_A": "1",
        "wsgi.url_scheme": "http",
        "wsgi.file_wrapper": FileWrapper,
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert isinstance(environ["gunicorn.socket"], Captured)


def test_create_takes_a_client_and_a_server_without_address() -> None:
    _, environ = made(client="", server="/run/web.sock")
    assert environ["REMOTE_ADDR"] == ""
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("h", "80")


def test_create_sends_100_only_when_the_flag_is_set() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    made(head)  # Captured has no send(): with the flag set this would fail
    with pytest.raises(AttributeError):
        create(parsed(head), Captured(), "", ("h", "1"), config())


class Recorder(Response):
    """Writes down which of the overridden methods gunicorn calls."""

    def __init__(self, head: bytes = b"GET / HTTP/1.1\r\n\r\n") -> None:
        super().__init__(parsed(head), None, config())
        self.steps: list[Any] = []
        self.files = False

    def send_headers(self) -> None:
        self.steps.append("headers")

    def _emit_body(self, data: bytes) -> None:
        self.steps.append((data, self.sent))

    def sendfile(self, respiter: Any) -> bool:
        self.steps.append("sendfile")
        return self.files


def test_write_sends_the_head_counts_and_then_emits() -> None:
    response = Recorder()
    response.start_response("200 OK", [("Content-Length", "6")])
    response.write(b"abc")
    response.write(b"def and too much")
    response.write(b"nothing of this")
    assert response.steps == ["headers", (b"abc", 3), "headers", (b"def", 6), "headers"]
    assert (response.response_length, response.chunked) == (6, False)


def test_a_response_without_length_is_chunked_and_empty_pieces_are_not_emitted() -> None:
    response = Recorder()
    response.start_response("200 OK", [])
    response.write(b"")
    assert response.chunked
    assert response.steps == ["headers"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", "200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", "204 No Content"),
        (b"GET / HTTP/1.1\r\n\r\n", "304 Not Modified"),
    ],
)
def test_a_response_that_may_have_no_body_emits_none(head: bytes, status: str) -> None:
    response = Recorder(head)
    response.start_response(status, [("Content-Length", "3")])
    response.write(b"abc")
    assert response._omits_body
    assert response.steps == ["headers"]


@pytest.mark.parametrize(("files", "steps"), [(True, 1), (False, 3)])
def test_write_file_tries_sendfile_and_else_writes(files: bool, steps: int) -> None:
    response = Recorder()
    response.files = files
    response.start_response("200 OK", [("Content-Length", "3")])
    response.write_file(FileWrapper(io.BytesIO(b"abc")))
    assert response.steps[0] == "sendfile"
    assert len(response.steps) == steps


def test_the_head_is_a_list_of_lines() -> None:
    response = Recorder()
    response.start_response("200 Fine", [("A", "b")])
    lines = response.default_headers()
    assert lines[0] == "HTTP/1.1 200 Fine\r\n"
    assert "Connection: keep-alive\r\n" in lines
    assert "Transfer-Encoding: chunked\r\n" in lines
    assert all(line.endswith("\r\n") for line in lines)
    assert response.headers == [("A", "b")]


def test_the_apps_connection_field_is_dropped_and_force_close_says_close() -> None:
    response = Recorder()
    response.start_response("200 OK", [("Connection", "close"), ("Content-Length", "0")])
    assert not response.should_close()
    assert response.headers == [("Content-Length", "0")]
    response.force_close()
    assert response.should_close()
    assert "Connection: close\r\n" in response.default_headers()


@pytest.mark.parametrize("field", [("A", "b\r\nC: d"), ("A b", "c"), ("A:", "b")])
def test_a_field_that_would_split_the_head_is_refused(field: tuple[str, str]) -> None:
    with pytest.raises((errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)):
        Recorder().start_response("200 OK", [field])


def test_a_second_start_response_is_refused_unless_it_is_about_an_error() -> None:
    response = Recorder()
    response.start_response("200 OK", [])
    with pytest.raises(AssertionError):
        response.start_response("200 OK", [])
    error = ValueError()
    response.start_response("500 Sorry", [], (ValueError, error, None))
    assert response.status == "500 Sorry"


def test_a_file_is_known_by_its_descriptor_and_sendfile_can_be_turned_off() -> None:
    with socket.socket() as real:
        assert util.has_fileno(real)
    assert not util.has_fileno(io.BytesIO())
    assert Recorder().can_sendfile()
    assert FileWrapper(io.BytesIO(b"x")).filelike.read() == b"x"
    response = Response(parsed(b"GET / HTTP/1.1\r\n\r\n"), None, config(sendfile=False))
    assert not response.can_sendfile()


# The application and its settings


def test_an_application_loads_its_settings_when_it_is_made_and_the_app_once() -> None:
    app = OneApp()
    assert app.cfg
    assert app.cfg.worker_class is QuietWorker
    assert (app.wsgi(), app.wsgi()) == (1, 1)


OURS = _ours(Settings(access_log=True), ["127.0.0.1:3000", "[::1]:3000", "unix:/run/web.sock"])


@pytest.mark.parametrize("key", OURS)
def test_every_setting_of_ours_exists_and_takes_our_value(key: str) -> None:
    cfg = config()
    cfg.set(key, OURS[key])


def test_the_addresses_are_what_hooks_read_them_as() -> None:
    cfg = config(bind=OURS["bind"])
    assert cfg.address == [("127.0.0.1", 3000), ("::1", 3000), "/run/web.sock"]


def test_a_worker_class_can_be_named_by_its_path() -> None:
    cfg = config(worker_class="launcher.worker.process.Worker")
    assert cfg.worker_class is launcher.worker.process.Worker


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("on_starting", 1),
        ("on_reload", 1),
        ("nworkers_changed", 3),
        ("when_ready", 1),
        ("on_exit", 1),
        ("pre_fork", 2),
        ("post_fork", 2),
        ("post_worker_init", 1),
        ("child_exit", 2),
        ("worker_exit", 2),
        ("worker_int", 1),
        ("worker_abort", 1),
        ("pre_request", 2),
        ("post_request", 4),
    ],
)
def test_a_hook_takes_so_many_arguments(hook: str, arguments: int) -> None:
    assert len(inspect.signature(getattr(config(), hook)).parameters) == arguments
    with pytest.raises(TypeError):
        config(**{hook: lambda: None})


class WithAHook:
    """Its method takes the place of a hook."""

    def post_fork(self, server: object, worker: object) -> None:
        """As the hook."""


def test_a_hook_may_be_a_method() -> None:
    hook = WithAHook().post_fork
    assert config(post_fork=hook).post_fork == hook


def test_the_number_of_workers_tells_the_hook_of_every_change() -> None:
    told: list[tuple[int, int | None]] = []
    arbiter = Arbiter(OneApp(nworkers_changed=lambda _, new, old: told.append((new, old))))
    arbiter.num_workers = 5
    assert told == [(1, None), (5, 1)]


def test_the_variables_of_the_configuration_are_a_dict_or_an_error() -> None:
    assert config(raw_env=["A=1", "B=2=3"]).env == {"A": "1", "B": "2=3"}
    with pytest.raises(RuntimeError, match="environment setting 'A' invalid"):
        _ = config(raw_env=["A"]).env
    assert f"gunicorn/{gunicorn.__version__}" == gunicorn.SERVER_SOFTWARE


def test_the_parser_of_the_command_line_gives_none_for_what_is_not_said() -> None:
    said = vars(config().parser().parse_args(["--log-level", "debug", "one:app"]))
    assert {key for key, value in said.items() if value is not None} == {"loglevel", "args"}
    assert said["args"] == ["one:app"]
    assert said.keys() - {"args"} <= config().settings.keys()


@pytest.mark.parametrize(("key", "value"), [("threads", "x"), ("keepalive", -1), ("nope", 1)])
def test_a_wrong_setting_raises_at_once(key: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        config().set(key, value)


def test_importing_an_app_calls_factories_and_says_what_is_wrong() -> None:
    assert util.import_app("tests.test_gunicorn_seam:an_app") is an_app
    assert util.import_app("tests.test_gunicorn_seam:factory(1, b=2)") is an_app
    with pytest.raises(AppImportError, match="Failed to find attribute 'none'"):
        util.import_app("tests.test_gunicorn_seam:none")
    with pytest.raises(AppImportError, match="missing 1 required positional argument"):
        util.import_app("tests.test_gunicorn_seam:factory()")
    with pytest.raises(ModuleNotFoundError):
        util.import_app("tests.there_is_no_such_module:app")
    with pytest.raises(SystemExit):
        util.import_app("tests.test_gunicorn_seam:leaving()")


def an_app() -> None:
    """Stands for a WSGI callable."""


def factory(a: int, b: int = 0) -> object:
    assert (a, b) == (1, 2)
    return an_app


def leaving() -> None:
    raise SystemExit(3)


# The log


def test_the_handlers_of_the_log_are_marked() -> None:
    log = Logger(config(accesslog="-"))
    for each in (log.error_log, log.access_log):
        (handler,) = ours_of(each)
        assert isinstance(handler, logging.StreamHandler)
    assert log.error_log.name == "gunicorn.error"


def test_the_access_log_takes_a_timedelta(capfd: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(stream := io.StringIO())
    log = Logger(config(accesslog="-", access_log_format="%(r)s %(s)s %(M)s"))
    log.access_log.handlers = [handler]
    response, environ = made()
    response.start_response("200 OK", [])
    log.access(response, response.req, environ, timedelta(seconds=1.5))
    assert stream.getvalue() == "GET /p%20q?r=s HTTP/1.1 200 1500\n"
