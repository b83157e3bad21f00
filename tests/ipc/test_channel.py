"""One end of a channel: records and descriptors go in on one side and come out on the other."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from launcher.ipc.channel import MAX_DESCRIPTORS, MAX_MESSAGE, Channel, ChannelClosed
from tests.support import eventually

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def received(channel: Channel) -> tuple[bytes, list[int]]:
    found = channel.receive()
    assert found is not None, "nothing has come"
    record, descriptors = found
    return bytes(record), descriptors


def test_what_is_sent_is_received_record_by_record(pair: Pair) -> None:
    here, there = pair
    for record in (b"one", b"\0" * 1000, b"three"):
        assert here.send(record)
    assert received(there) == (b"one", [])
    assert received(there) == (b"\0" * 1000, [])
    assert received(there) == (b"three", [])
    assert there.receive() is None


def test_both_ends_send(pair: Pair) -> None:
    here, there = pair
    here.send(b"ping")
    there.send(b"pong")
    assert received(there) == (b"ping", [])
    assert received(here) == (b"pong", [])


def test_an_empty_channel_does_not_block(pair: Pair) -> None:
    assert pair[0].receive() is None


def test_it_is_hung_up_once_the_other_side_is_gone_whatever_is_still_to_be_heard(
    pair: Pair,
) -> None:
    here, there = pair
    there.send(b"last words")
    assert not here.hung_up()
    here.say_no_more()
    assert not here.hung_up()
    there.close()
    assert here.hung_up()
    assert received(here) == (b"last words", [])
    here.close()
    assert here.hung_up()


def test_the_largest_record_fits(pair: Pair) -> None:
    here, there = pair
    record = os.urandom(MAX_MESSAGE)
    assert here.send(record)
    assert received(there) == (record, [])


def test_a_descriptor_travels_and_means_the_same_file(pair: Pair) -> None:
    here, there = pair
    near, far = socket.socketpair()
    with near, far:
        assert here.send(b"take it", (far.fileno(),))
        record, (copy,) = received(there)
        assert record == b"take it"
        assert copy != far.fileno()
        assert os.path.sameopenfile(copy, far.fileno())
        os.write(copy, b"hello")
        assert near.recv(100) == b"hello"
        os.close(copy)


def test_several_descriptors_keep_their_order(pair: Pair) -> None:
    here, there = pair
    sent = [os.memfd_create(str(index)) for index in range(MAX_DESCRIPTORS)]
    assert here.send(b"all", sent)
    copies = received(there)[1]
    names = [os.readlink(f"/proc/self/fd/{copy}") for copy in copies]
    assert names == [os.readlink(f"/proc/self/fd/{fd}") for fd in sent]
    for fd in [*sent, *copies]:
        os.close(fd)


def test_a_received_descriptor_is_not_inherited_by_what_is_started(pair: Pair) -> None:
    here, there = pair
    here.send(b"fd", (0,))
    (copy,) = received(there)[1]
    assert not os.get_inheritable(copy)
    os.close(copy)


def test_a_receiver_without_room_for_a_descriptor_gets_the_record_without_it(pair: Pair) -> None:
    here, there = pair
    here.send(b"record", (0,))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        found = received(there)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found == (b"record", [])


def fill(channel: Channel) -> int:
    """Send until the channel is full; how many records went."""
    sent = 0
    while channel.send(b"x" * 1000):
        sent += 1
        assert sent < 100_000, "never full"
    return sent


def test_a_full_channel_says_so_and_loses_nothing(pair: Pair) -> None:
    here, there = pair
    sent = fill(here)
    assert sent > 10
    assert not here.send(b"x" * 1000)
    assert [received(there)[0] for _ in range(sent)] == [b"x" * 1000] * sent
    assert there.receive() is None
    assert here.send(b"there is room again")


def test_a_refused_record_takes_its_descriptor_nowhere(pair: Pair) -> None:
    here, _ = pair
    near, far = socket.socketpair()
    with near:
        fill(here)
        assert not here.send(b"x" * 1000, (far.fileno(),))
        far.close()
        near.settimeout(5)
        assert near.recv(1) == b"", "nobody else holds the other end"


def test_the_end_of_the_other_side_comes_after_what_it_said(pair: Pair) -> None:
    here, there = pair
    here.send(b"last words")
    here.close()
    assert received(there) == (b"last words", [])
    with pytest.raises(ChannelClosed):
        there.receive()


def test_sending_to_a_closed_side_raises(pair: Pair) -> None:
    here, there = pair
    there.close()
    with pytest.raises(ChannelClosed):
        here.send(b"anybody?")


def test_unread_words_of_ours_do_not_hide_the_end_of_the_other(pair: Pair) -> None:
    here, there = pair
    here.send(b"never read")
    there.close()
    with pytest.raises(ChannelClosed):
        here.receive()


def test_words_of_the_other_are_heard_though_it_left_ours_unread(pair: Pair) -> None:
    here, there = pair
    here.send(b"never read")
    there.send(b"its last words")
    there.close()
    assert received(here) == (b"its last words", [])
    with pytest.raises(ChannelClosed):
        here.receive()


def test_shut_is_the_end_for_both_though_others_hold_the_socket(pair: Pair) -> None:
    here, there = pair
    copy = os.dup(here.fd)
    here.shut()
    with pytest.raises(ChannelClosed):
        there.receive()
    with pytest.raises(ChannelClosed):
        there.send(b"x")
    with pytest.raises(ChannelClosed):
        here.receive()
    os.close(copy)


def test_closing_and_shutting_twice_is_fine(pair: Pair) -> None:
    here, _ = pair
    here.shut()
    here.shut()
    here.close()
    here.close()


def test_a_dead_process_is_the_end(pair: Pair) -> None:
    here, there = pair
    pid = os.fork()
    if pid == 0:
        here.close()
        os.kill(os.getpid(), 9)
    there.close()
    os.waitpid(pid, 0)
    with pytest.raises(ChannelClosed):
        here.receive()


class Told(Channel):
    """Counts how often it was full."""

    full = threading.Semaphore(0)

    def send(self, record: bytes, descriptors: Sequence[int] = ()) -> bool:
        sent = super().send(record, descriptors)
        if not sent:
            self.full.release()
        return sent


def test_what_must_arrive_waits_for_the_other_side() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here, there = Told(ours), Channel(theirs)
    here.send_surely(b"at once")
    assert received(there) == (b"at once", [])
    while here.send(b"x" * 100_000):
        pass
    assert here.full.acquire(blocking=False)
    sender = threading.Thread(target=here.send_surely, args=(b"surely",))
    sender.start()
    assert here.full.acquire(timeout=10)
    assert here.full.acquire(timeout=10), "from here on it waits"
    assert eventually(lambda: (there.receive() or (b"",))[0] == b"surely")
    sender.join(10)
    here.close()
    there.close()


def test_records_without_descriptors_may_come_with_something_else() -> None:
    """Such as the credentials of the sender, where a socket is told to pass them (unix(7))."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    here, there = Channel(ours), Channel(theirs)
    here.send(b"word")
    assert received(there) == (b"word", [])
    here.close()
    there.close()


def test_what_is_wrong_with_a_call_is_no_end_of_the_other_side(pair: Pair) -> None:
    here, there = pair
    with pytest.raises(OSError, match="Message too long"):
        here.send(b"x" * (1 << 22))
    with open(os.devnull) as no_socket:
        os.dup2(no_socket.fileno(), there.fd)
    with pytest.raises(OSError, match="non-socket"):
        there.receive()


def test_a_channel_that_was_closed_here_has_ended(pair: Pair) -> None:
    here, _ = pair
    here.close()
    with pytest.raises(ChannelClosed):
        here.receive()
