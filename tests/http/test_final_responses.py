"""What RFC 9110 section 15 and 8.6 say of responses, whatever the app says; hot path or not."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.http.wire import Response, Wire, head
from tests.support import APPS, Cluster, StartCluster, eventually


@pytest.fixture(scope="module", params=["hot", "reference"])
def cluster(start_shared: StartCluster, request: pytest.FixtureRequest) -> Cluster:
    hooks = ("--gunicorn-config", str(APPS / "no_hot_path.py"))
    options = hooks if request.param == "reference" else ()
    name = ("--name", request.param)
    return start_shared("answers:app", "-w", "1", *name, *options).ready()


def two(cluster: Cluster, kind: str, method: str = "GET") -> Response:
    """The answer of a kind, in front of one that must be found behind it, or of the end."""
    with Wire(cluster.address) as wire:
        wire.send(head(method, "/x", f"X-Answer: {kind}") + head("GET", "/next"))
        response = wire.response(method)
        if not response.closes:
            assert wire.response().text.startswith("{")
        assert wire.finish().is_closed()
        return response


@pytest.mark.parametrize(
    "kind",
    [
        *("continues", "processes", "hints_in_earnest", "switches", "switches_to"),
        *("status_000", "status_099", "status_600", "status_999", "goes_on_after_a_refusal"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_is_no_final_response_is_the_apps_failure(
    cluster: Cluster, kind: str, method: str
) -> None:
    response = two(cluster, kind, method)
    assert (response.status, response.interim, response.closes) == (500, [], True)


def test_an_app_may_think_better_of_a_status_that_was_refused(cluster: Cluster) -> None:
    response = two(cluster, "thinks_better_after_a_refusal")
    assert response.status == 200
    assert "x-first" not in response.fields


@pytest.mark.parametrize("kind", ["_with_content", "_with_length", "_chunked"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_content_that_is_not_allowed_is_left_out(cluster: Cluster, kind: str, method: str) -> None:
    response = two(cluster, f"no_content{kind}", method)
    assert response.status == 204
    assert not {"content-length", "transfer-encoding"} & response.fields.keys()
    assert not response.closes


@pytest.mark.parametrize("kind", ["", "_with_length", "_chunked"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reset_content_says_that_it_has_none(cluster: Cluster, kind: str, method: str) -> None:
    response = two(cluster, f"resets_content{kind}", method)
    assert (response.status, response.body, response.closes) == (205, b"", False)
    assert response.fields["content-length"] == "0"
    assert "transfer-encoding" not in response.fields


def test_not_modified_may_have_the_length_of_what_it_stands_for(cluster: Cluster) -> None:
    assert "content-length" not in two(cluster, "not_modified_with_content").fields
    assert two(cluster, "not_modified_with_length").fields["content-length"] == "5"


def test_a_length_and_a_coding(cluster: Cluster) -> None:
    response = two(cluster, "length_and_chunked")
    assert (response.fields["content-length"], len(response.body)) == ("2", 2)
    assert "transfer-encoding" not in response.fields


def test_a_length_that_is_given_twice_is_sent_once(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        wire.get("/x", "X-Answer: two_lengths", "Connection: close")
        assert wire.rest().lower().count(b"\r\ncontent-length:") == 1


def test_interim_responses_frame_nothing(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        wire.get("/x", "X-Answer: hints_that_frame")
        assert [wire.line() for _ in range(3)] == [b"HTTP/1.1 103 Early Hints", b"X-A: 5", b""]
        assert wire.response().status == 200


# Another protocol

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def test_switching_protocols_ends_what_is_http(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        wire.get("/x", *UPGRADE, "X-Answer: switches_to")
        assert wire.line() == b"HTTP/1.1 101 Switching Protocols"
        rest = wire.send(head("GET", "/next")).finish().rest()
        assert b"\r\nConnection: upgrade\r\n" in rest
        assert b"\r\nUpgrade: websocket\r\n" in rest
        assert rest.endswith(b"\r\n\r\n")
        assert b"HTTP/1.1" not in rest


def test_switching_to_nothing_in_particular(cluster: Cluster) -> None:
    with Wire(cluster.address) as wire:
        assert wire.ask("/x", *UPGRADE, "X-Answer: switches").status == 500


def test_an_offer_to_upgrade_hides_no_end(cluster: Cluster) -> None:
    assert two(cluster, "upgrade_required").fields["connection"] == "upgrade"
    with Wire(cluster.address) as wire:
        wire.send(head("GET", "/x", "Connection: close", "X-Answer: upgrade_required"))
        assert wire.response().fields["connection"] == "upgrade, close"
        assert wire.is_closed()


# Lengths that the app did not say, or not rightly


@pytest.mark.parametrize(
    "kind",
    [
        *("one_piece", "one_sized_piece", "one_empty_piece", "no_piece"),
        *("one_piece_and_close", "one_piece_with_exc_info", "one_piece_of_two"),
    ],
)
def test_one_piece_is_counted(cluster: Cluster, kind: str) -> None:
    response = two(cluster, kind)
    assert "transfer-encoding" not in response.fields
    assert response.fields["content-length"] == str(len(response.body))


def test_a_connection_goes_on_behind_one_piece(cluster: Cluster) -> None:
    with ExitStack() as stack:
        wire = stack.enter_context(Wire(cluster.address))
        for _ in range(3):
            assert not wire.ask("/x", "X-Answer: one_piece").closes
        # HTTP/1.0 knows no chunks: what is not counted ends with the connection.
        kept = head("GET", "/x", "X-Answer: one_piece", "Connection: keep-alive", version="1.0")
        assert not wire.send(kept).response().closes


@pytest.mark.parametrize(
    "kind", ["chunked", "one_yielded_piece", "of_unknown_size", "one_piece_behind_write"]
)
def test_what_cannot_be_counted_is_chunked(cluster: Cluster, kind: str) -> None:
    response = two(cluster, kind)
    assert response.fields["transfer-encoding"] == "chunked"
    assert response.text.startswith("{")


@pytest.mark.parametrize("kind", ["one_piece", "no_piece", "one_empty_piece"])
def test_head_is_not_counted(cluster: Cluster, kind: str) -> None:
    """What the app gives to HEAD is not what it would give to GET."""
    assert "content-length" not in two(cluster, kind, "HEAD").fields


@pytest.mark.parametrize("kind", ["one_text", "bare_bytes"])
def test_what_is_no_bytes_is_the_apps_failure(cluster: Cluster, kind: str) -> None:
    assert two(cluster, kind).status == 500


@pytest.mark.parametrize(
    ("kind", "said"),
    [("too_long", "more"), ("too_long_at_once", "more"), ("too_short", "less")],
)
def test_a_length_that_was_wrong_is_told(cluster: Cluster, kind: str, said: str) -> None:
    line = f"GET /{kind}: the app sent {said} than its Content-Length of "
    with Wire(cluster.address) as wire:
        wire.get(f"/{kind}", f"X-Answer: {kind}", "Connection: close").rest()
    eventually(lambda: line in cluster.log)
    with Wire(cluster.address) as wire:
        wire.get("/right", "X-Answer: one_piece", "Connection: close").rest()
    assert "/right: the app sent" not in cluster.log
