"""What becomes of a dead worker's connections: a table of what was known and the verdict."""

from __future__ import annotations

import pytest

from launcher.ipc.notes import CLOSES, LENGTH_UNKNOWN, Note
from launcher.policy.rescue import CONTINUE, Action, Figures, Verdict, judge

REQUEST = 80
"""Bytes of the running request, the second on its connection."""

RESPONSE = 200
WRITTEN, CONSUMED = 1000, 500


def note(
    *, safe: bool = True, response: int = 0, request: int = REQUEST, closes: bool = False
) -> Note:
    """What the worker noted when the request began, and of its response since then."""
    length = response | CLOSES if closes else response
    return Note(7, safe, 123, WRITTEN, CONSUMED, request, length, 0)


def at(sent: int = 0, consumed: int = 0) -> Figures:
    """The kernel's count: so many bytes sent and consumed since the request began."""
    return Figures(WRITTEN + sent, CONSUMED + consumed)


def verdict(
    note: Note | None,
    figures: Figures | None,
    *,
    pinned: bool = False,
    answered: bool = False,
    rerun: bool = True,
) -> Verdict:
    return judge(note, figures, pinned=pinned, answered=answered, rerun=rerun)


def test_nothing_was_running() -> None:
    assert verdict(None, at()) == Verdict(Action.DEAL)
    assert verdict(None, None) == Verdict(Action.DEAL)


# Running, nothing sent


def test_a_safe_request_of_which_nothing_is_sent_runs_again() -> None:
    assert verdict(note(), at()) == Verdict(Action.RERUN)


def test_also_when_its_response_was_made_already() -> None:
    assert verdict(note(response=RESPONSE), at()) == Verdict(Action.RERUN)


def test_an_unsafe_request_does_not() -> None:
    assert verdict(note(safe=False), at()) == Verdict(Action.ANSWER)


def test_nothing_runs_again_when_that_is_turned_off() -> None:
    assert verdict(note(), at(), rerun=False) == Verdict(Action.ANSWER)


def test_a_request_that_is_partly_consumed_cannot_run_again() -> None:
    assert verdict(note(), at(consumed=1)) == Verdict(Action.ANSWER)


# Running, something sent


@pytest.mark.parametrize(
    ("consumed", "rest"), [(0, REQUEST), (30, REQUEST - 30), (REQUEST, 0), (REQUEST + 40, 0)]
)
def test_an_answered_request_is_consumed_and_the_connection_goes_on(
    consumed: int, rest: int
) -> None:
    found = verdict(note(response=RESPONSE), at(RESPONSE, consumed))
    assert found == Verdict(Action.DEAL, rest)


def test_an_answered_request_that_was_the_last_ends_in_an_orderly_way() -> None:
    found = verdict(note(response=RESPONSE, closes=True), at(RESPONSE, 0))
    assert found == Verdict(Action.FINISH, REQUEST)


def test_an_unsafe_request_that_is_answered_is_as_good() -> None:
    found = verdict(note(safe=False, response=RESPONSE), at(RESPONSE))
    assert found == Verdict(Action.DEAL, REQUEST)


@pytest.mark.parametrize("sent", [1, RESPONSE - 1, RESPONSE + 1])
@pytest.mark.parametrize("closes", [False, True])
def test_a_part_of_a_response_is_cut(sent: int, closes: bool) -> None:
    assert verdict(note(response=RESPONSE, closes=closes), at(sent)) == Verdict(Action.CUT)


def test_a_stream_of_unknown_length_is_cut() -> None:
    assert verdict(note(response=LENGTH_UNKNOWN), at(RESPONSE)) == Verdict(Action.CUT)


def test_something_sent_that_was_never_noted_is_cut() -> None:
    assert verdict(note(), at(1)) == Verdict(Action.CUT)


def test_a_client_that_was_told_to_send_its_body_is_still_owed_a_response() -> None:
    running = note(safe=False, request=0)
    assert verdict(running, at(len(CONTINUE), 40), pinned=True) == Verdict(Action.ANSWER)
    assert verdict(note(), at(len(CONTINUE))) == Verdict(Action.ANSWER), "but nothing runs again"
    begun = note(safe=False, request=0, response=RESPONSE)
    assert verdict(begun, at(len(CONTINUE), 40), pinned=True) == Verdict(Action.CUT)


# The kernel does not say


def test_without_figures_a_request_without_a_response_gets_an_error() -> None:
    assert verdict(note(), None) == Verdict(Action.ANSWER)


@pytest.mark.parametrize("response", [RESPONSE, LENGTH_UNKNOWN])
def test_without_figures_a_response_that_was_made_may_be_out(response: int) -> None:
    assert verdict(note(response=response), None) == Verdict(Action.CUT)


# State in the worker's memory


@pytest.mark.parametrize("running", [None, note(request=0), note(request=0, response=RESPONSE)])
def test_a_pinned_connection_that_has_begun_to_be_answered_is_cut(running: Note | None) -> None:
    assert verdict(running, at(), pinned=True, answered=True) == Verdict(Action.CUT)


def test_a_pinned_connection_without_an_answer_gets_an_error() -> None:
    assert verdict(None, at(), pinned=True) == Verdict(Action.ANSWER)
    assert verdict(note(safe=False, request=0), at(), pinned=True) == Verdict(Action.ANSWER)


def test_every_action_is_somewhere_in_this_table() -> None:
    found = {
        verdict(None, at()).action,
        verdict(note(), at()).action,
        verdict(note(), None).action,
        verdict(note(response=RESPONSE, closes=True), at(RESPONSE)).action,
        verdict(note(), at(1)).action,
    }
    assert found == {*Action}
