"""The control protocol and the client: whatever a peer does is one line and in time."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from launcher.control.client import NotRunning, ask, call
from launcher.control.protocol import (
    MAX_REPLY,
    MAX_REQUEST,
    ProtocolError,
    Reply,
    Request,
    encode,
    ok,
    parse_reply,
    parse_request,
    refused,
)
from launcher.errors import LauncherError, UsageError
from launcher.state.home import Home

ROOT = Path(__file__).parent.parent.parent
VERBS: dict[str, dict[str, type]] = {
    "status": {},
    "scale": {"wanted": int},
    "signal": {"name": str, "force": bool},
}

# Protocol


def test_a_request_and_its_reply_there_and_back() -> None:
    line = encode({"verb": "scale", "args": {"wanted": 4}})
    assert line == b'{"verb":"scale","args":{"wanted":4}}\n'
    assert parse_request(line, VERBS) == Request("scale", {"wanted": 4})
    assert parse_reply(encode(ok([1]))) == Reply(ok=True, result=[1])
    assert parse_reply(encode(refused("no"))) == Reply(ok=False, error="no")
    assert parse_reply(encode(refused("no", 2))).exit_status == 2


def test_arguments_may_be_left_out_where_there_are_none() -> None:
    assert parse_request(b'{"verb": "stop"}') == Request("stop", {})
    assert parse_request(b'{"verb": "status", "args": {}}\n') == Request("status", {})


def test_a_line_is_one_line_whatever_it_holds() -> None:
    line = encode(ok("a\nb\u2028\ud800"))
    assert line.count(b"\n") == 1
    assert line.isascii()


BAD_REQUESTS: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"\n", "not JSON"),
    (b"stop", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (json.dumps({"verb": "status"}).encode("utf-16"), "not JSON"),
    (b'{"verb": "status"} {}', "not JSON"),
    (b"[" * 60_000, "not JSON"),
    (b'{"verb":' * 8_000, "not JSON"),
    (b'{"verb": "scale", "args": {"wanted": ' + b"9" * 5_000 + b"}}", "not JSON"),
    (b'{"verb": "scale", "args": {"wanted": NaN}}', "not JSON"),
    (b" " * (MAX_REQUEST + 1), "longer than 262144 bytes"),
    (b"[]", "not a JSON object"),
    (b'"status"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"{}", "unknown verb NoneType"),
    (b'{"verb": ["status"]}', "unknown verb list"),
    (b'{"verb": "kill"}', "unknown verb 'kill'"),
    (b'{"verb": "\\u001b[2J' + b"x" * 500 + b'"}', r"unknown verb '\\x1b\[2Jx+\.\.\.$"),
    (b'{"verb": "status", "name": 1}', "unknown key 'name' in the request"),
    (b'{"verb": "status", "args": []}', "arguments of status are not an object"),
    (b'{"verb": "status", "args": {"a": 1}}', "status: unknown 'a'"),
    (b'{"verb": "scale"}', "scale: missing 'wanted'"),
    (b'{"verb": "scale", "args": {"wanted": "4"}}', "wanted is not of type int"),
    (b'{"verb": "scale", "args": {"wanted": true}}', "wanted is not of type int"),
    (b'{"verb": "scale", "args": {"wanted": 1e3}}', "wanted is not of type int"),
    (b'{"verb": "signal", "args": {"name": "x"}}', "signal: missing 'force'"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_REQUESTS)
def test_a_bad_request_is_one_line(line: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem) as caught:
        parse_request(line, VERBS)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 100


def test_garbage_raises_nothing_else() -> None:
    chance = random.Random(4242)
    good = encode({"verb": "signal", "args": {"name": "HUP", "force": True}})
    for _ in range(5_000):
        line = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            line[chance.randrange(len(line))] = chance.randrange(256)
        with suppress(ProtocolError):
            assert parse_request(bytes(line), VERBS).verb == "signal"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"ok": True},
        {"ok": 1, "result": 1},
        {"ok": False},
        {"ok": False, "error": 1, "exit_status": 1},
        {"ok": False, "error": "x", "exit_status": 0},
        {"ok": False, "error": "x", "exit_status": "1"},
    ],
)
def test_what_is_no_reply(message: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match="neither a result nor a refusal"):
        parse_reply(encode(message))


# Client

Answer = Callable[[socket.socket], None]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Home.open({"LAUNCHER_HOME": str(tmp_path / "home")}) as opened:
        yield opened


@contextmanager
def cluster(home: Home, answer: Answer) -> Iterator[None]:
    """A cluster ``web`` in this process, which answers one connection with ``answer``."""
    with home.claim("web") as folder, folder.bind_control_socket() as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)
            assert not thread.is_alive()


def reply(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        parse_request(connection.recv(MAX_REQUEST))
        connection.sendall(data)

    return answer


def until_gone(connection: socket.socket) -> None:
    """Says nothing until the client gives up."""
    while connection.recv(MAX_REQUEST):
        pass


def test_a_call_gives_the_result(home: Home) -> None:
    with cluster(home, reply(encode(ok({"requests": 3})))):
        assert call(home, "web", "status", timeout=5) == {"requests": 3}


def test_a_long_reply_that_comes_in_pieces(home: Home) -> None:
    def answer(connection: socket.socket) -> None:
        parse_request(connection.recv(MAX_REQUEST))
        data = encode(ok("x" * 3_000_000))
        connection.sendall(data[:10])
        connection.sendall(data[10:])

    with cluster(home, answer):
        assert len(call(home, "web", "status", timeout=10)) == 3_000_000


def test_a_refusal_keeps_its_line_and_status(home: Home) -> None:
    with (
        cluster(home, reply(encode(refused("reload is under way")))),
        pytest.raises(LauncherError, match=r"^reload is under way$") as caught,
    ):
        call(home, "web", "status", timeout=5)
    assert caught.value.exit_status == 1
    with (
        cluster(home, reply(encode(refused("unknown verb", 2)))),
        pytest.raises(UsageError, match=r"^unknown verb$"),
    ):
        call(home, "web", "status", timeout=5)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", r"does not answer: it closed the connection$"),
        (b'{"ok": tr', r"does not answer: it closed the connection$"),
        (b"hello\n", r"does not speak this launcher's protocol: the line is not JSON$"),
        (b"x" * (MAX_REPLY + 1), r"protocol: the line is longer than 16777216 bytes$"),
    ],
)
def test_a_primary_that_talks_nonsense(home: Home, data: bytes, problem: str) -> None:
    start = rf"^cluster 'web' \(pid {os.getpid()}\) "
    with cluster(home, reply(data)), pytest.raises(LauncherError, match=start + ".*" + problem):
        call(home, "web", "status", timeout=10)


def test_a_primary_that_says_nothing(home: Home) -> None:
    began = time.monotonic()
    silent = rf"^cluster 'web' \(pid {os.getpid()}\) does not answer within 0\.05 s$"
    with cluster(home, until_gone), pytest.raises(LauncherError, match=silent):
        call(home, "web", "status", timeout=0.05)
    assert time.monotonic() - began < 5


def test_a_primary_that_drips_does_not_move_the_deadline(home: Home) -> None:
    def drip(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b" ")
        except OSError:
            return

    with cluster(home, drip), pytest.raises(LauncherError, match=r"not answer within|longer than"):
        call(home, "web", "status", timeout=0.1)


def test_a_name_nobody_has(home: Home) -> None:
    with home.claim("website") as folder:
        folder.write_app_json({})
    with pytest.raises(LauncherError, match=r"^no cluster named 'zzz'$"):
        call(home, "zzz", "status", timeout=1)
    with pytest.raises(LauncherError, match=r"^no cluster named 'websit': did you mean 'website'"):
        call(home, "websit", "status", timeout=1)


def test_a_cluster_that_does_not_run(home: Home) -> None:
    with home.claim("web") as folder:
        folder.write_app_json({})
    with pytest.raises(NotRunning, match=r"^cluster 'web' is not running$"):
        call(home, "web", "status", timeout=1)


def test_a_primary_that_does_not_listen_yet(home: Home) -> None:
    with home.claim("web"), pytest.raises(LauncherError, match="it is starting or stopping"):
        call(home, "web", "status", timeout=1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user id")
def test_an_answer_of_another_user_is_not_taken(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener gets its credentials at listen(2), so they are of user 4242 from then on."""
    with home.claim("web") as folder:
        os.seteuid(4242)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                os.seteuid(0)
                listener.bind(f"/proc/self/fd/{folder.dirfd}/control.sock")
                os.seteuid(4242)
                listener.listen()
                os.seteuid(0)
                with pytest.raises(LauncherError, match="answered by user id 4242, not by you"):
                    call(home, "web", "status", timeout=1)
        finally:
            os.seteuid(0)


STOPPABLE = """
import sys
from launcher.control.protocol import encode, ok, parse_request
from launcher.state.home import Home
with Home.open() as home, home.claim("web") as folder:
    with folder.bind_control_socket() as listener:
        print("listening", flush=True)
        connection, _ = listener.accept()
        assert parse_request(connection.recv(65536)).verb == "stop"
        connection.sendall(encode(ok({"pid": 1, "deadline": 9})))
        sys.stdin.readline()
"""


def test_the_end_of_the_process_is_seen(home: Home) -> None:
    environ = {**os.environ, "LAUNCHER_HOME": home.path, "PYTHONPATH": str(ROOT)}
    command, pipe = [sys.executable, "-c", STOPPABLE], subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        with ask(home, "web", "stop", timeout=5) as conversation:
            assert conversation.result["deadline"] == 9
            assert conversation.process.pid == process.pid
            assert not conversation.wait_for_exit(0.01)
            process.stdin.write("go\n")
            process.stdin.flush()
            assert conversation.wait_for_exit(10)
            assert process.wait(10) == 0
