"""Every message comes out as it went in."""

from __future__ import annotations

import inspect
import struct
from typing import Any, get_args, get_type_hints

import pytest

from launcher.ipc.channel import MAX_DESCRIPTORS, MAX_MESSAGE
from launcher.ipc.messages import Deal, Deals, Exited, Failed, Message
from launcher.ipc.records import decode, encode

KINDS: tuple[type[Any], ...] = get_args(Message)

SAMPLES: dict[Any, list[Any]] = {
    int: [0, 65_535],
    bool: [False, True],
    str: ["", 'naïve "quotes"\n\0 \U0001f600'],
    float: [0.0, 12345.678901],
    list[str]: [[], ["a.py", "naïve \udc80.html"]],
    list[Deal]: [
        [],
        [Deal(1, 2, 3, 4, 5, False, 0.0, "::1"), Deal(6, 7, 8, 9, 10, True, 7.25, "")],
    ],
}
"""Two values of every type that a field has."""


def samples(kind: type[Any]) -> list[Any]:
    """Two messages of a kind that differ in every field."""
    hints = get_type_hints(kind)
    names = inspect.signature(kind).parameters
    return [kind(**{name: SAMPLES[hints[name]][which] for name in names}) for which in (0, 1)]


def test_it_comes_out_as_it_went_in(subtests: pytest.Subtests) -> None:
    for kind in KINDS:
        for message in samples(kind):
            with subtests.test(repr(message)):
                found = decode(encode(message))
                assert type(found) is kind
                assert found == message


def test_it_cannot_be_changed(subtests: pytest.Subtests) -> None:
    for kind in KINDS:
        message = samples(kind)[0]
        for name in inspect.signature(kind).parameters:
            with subtests.test(f"{kind.__name__}.{name}"), pytest.raises(AttributeError):
                setattr(message, name, None)


def test_the_first_byte_tells_the_messages_apart() -> None:
    tags = [encode(samples(kind)[0])[:1] for kind in KINDS]
    assert len({*tags}) == len(KINDS) > 10


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 0),
        ("127.0.0.1", 65_535),
        ("fe80::1%eth0", 1),
        ("2001:db8:1111:2222:3333:4444:5555:6666", 80),
    ],
)
def test_a_deal_carries_any_address_and_counts_of_64_bits(host: str, port: int) -> None:
    deal = Deal(
        serial=2**64 - 1,
        written=2**64 - 2,
        consumed=2**64 - 3,
        listener=65_535,
        first=True,
        since=123456.789,
        host=host,
        port=port,
    )
    assert decode(encode(Deals([deal, deal]))) == Deals([deal, deal])


def test_as_many_deals_fit_a_record_as_descriptors_do() -> None:
    longest = "2001:db8:1111:2222:3333:4444:255.255.255.255%interface0"
    deal = Deal(2**64 - 1, 2**64 - 1, 2**64 - 1, 65_535, 65_535, True, 1e9 / 3, longest)
    assert len(encode(Deals([deal] * MAX_DESCRIPTORS))) < MAX_MESSAGE


@pytest.mark.parametrize("record", [b"", b"?", b"?{}", b"X", b"X{}", b'X{"id": 1', b"X[]", b"D\0"])
def test_what_is_no_message_raises(record: bytes) -> None:
    with pytest.raises((LookupError, ValueError, TypeError, struct.error)):
        decode(record)


def test_an_exit_status_of_a_signal_fits() -> None:
    assert decode(encode(Exited(1, 2**22, 9 | 0x80))) == Exited(1, 2**22, 0x89)


@pytest.mark.parametrize("letter", ["x", "я", "\U0001f600", "\0", "\udc80", '"'])
def test_a_text_of_any_length_fits_a_record(letter: str) -> None:
    message = Failed("it failed", "begins" + letter * 200_000 + "ends")
    record = encode(message)
    assert len(record) <= MAX_MESSAGE
    found = decode(record)
    assert isinstance(found, Failed)
    assert found.reason == "it failed"
    assert found.detail.startswith("begins" + letter)
    assert found.detail.endswith(letter + "ends")


def test_a_long_traceback_fits_a_record() -> None:
    message = Failed("it failed", "line\n" * 10_000)
    assert len(encode(message)) < MAX_MESSAGE
