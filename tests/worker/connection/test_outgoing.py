"""What is kept for a client comes out as it went in, and counts until it is gone."""

from __future__ import annotations

import os
import random
import tempfile

import pytest

from launcher.worker.connection.outgoing import Block, FilePart, Outgoing


def taken(outgoing: Outgoing, most: int) -> bytes:
    """As a client takes it that takes at most so much at once."""
    found = []
    while outgoing:
        part = outgoing.first()
        assert isinstance(part, Block)
        piece = bytes(part.left()[:most])
        part.sent(len(piece))
        found.append(piece)
        if not part:
            outgoing.done()
    return b"".join(found)


@pytest.mark.parametrize("most", [10_000, Block.SIZE - 1, 10 * Block.SIZE])
def test_pieces_of_all_sizes_come_out_in_order(most: int) -> None:
    chance = random.Random(3)
    sizes = (0, 1, 5, 4096, Block.SIZE - 1, Block.SIZE, Block.SIZE + 1, 3 * Block.SIZE)
    pieces = [chance.randbytes(chance.choice(sizes)) for _ in range(30)]
    outgoing = Outgoing()
    for piece in pieces:
        outgoing.keep(piece)
    whole = b"".join(pieces)
    assert len(outgoing) == outgoing.memory == len(whole)
    assert taken(outgoing, most) == whole
    assert (len(outgoing), outgoing.memory, bool(outgoing)) == (0, 0, False)


def test_what_is_sent_in_part_counts_as_a_whole() -> None:
    outgoing = Outgoing()
    outgoing.keep(b"x" * Block.SIZE + b"y")
    outgoing.first().sent(Block.SIZE - 1)  # type: ignore[union-attr]
    assert outgoing.memory == Block.SIZE + 1
    assert len(outgoing) == 2


def test_files_take_no_memory_and_are_closed() -> None:
    outgoing = Outgoing()
    with tempfile.TemporaryFile() as file:
        fds = [os.dup(file.fileno()) for _ in range(2)]
    outgoing.keep(b"head")
    outgoing.keep_file(FilePart(fds[0], 0, 1 << 40))
    outgoing.keep_file(FilePart(fds[1], 0, 5))
    outgoing.keep(b"tail")
    assert outgoing.memory == 8
    assert len(outgoing) == (1 << 40) + 13
    outgoing.clear()
    assert outgoing.memory == 0
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
