"""What the pool in charge is told, however often and whenever it is asked to be told."""

from __future__ import annotations

from typing import Any

from launcher.ipc.messages import Alone, Buried, Message, Scaled
from launcher.primary.cluster.succession import Succession


class Pool:
    """Hears what it has room for."""

    def __init__(self, room: int = 9) -> None:
        self.room = room
        self.heard: list[Message] = []
        self.alone = False
        self.workers_told = 2

    def tell(self, message: Message) -> bool:
        if len(self.heard) >= self.room:
            return False
        self.heard.append(message)
        return True


def tell(succession: Succession, heir: Any, alone: bool = True, wanted: int = 2) -> list[Message]:
    """Tell it twice; what it has heard."""
    for _ in range(2):
        succession.tell(heir, alone, wanted)
    heard: list[Message] = heir.heard
    return heard


def test_it_is_alone_once_nothing_of_the_others_lives() -> None:
    succession, heir = Succession(), Pool()
    assert tell(succession, heir, alone=False) == []
    assert tell(succession, heir) == [Alone()]


def test_the_first_knows() -> None:
    heir = Pool()
    heir.alone = True
    assert tell(Succession(), heir) == []


def test_the_dead_are_told_before_that() -> None:
    succession, heir = Succession(), Pool()
    succession.died(10)
    succession.died(11, 3)
    assert tell(succession, heir) == [Buried(10, 0), Buried(11, 3), Alone()]


def test_what_it_could_not_hear_is_told_later_once() -> None:
    succession, heir = Succession(), Pool(room=1)
    succession.died(10)
    succession.died(11)
    assert tell(succession, heir, wanted=5) == [Buried(10, 0)]
    heir.room = 9
    assert tell(succession, heir, wanted=5) == [Buried(10, 0), Buried(11, 0), Scaled(5), Alone()]


def test_the_number_of_workers_is_told_when_it_is_another() -> None:
    succession, heir = Succession(), Pool()
    assert tell(succession, heir, alone=False, wanted=2) == []
    assert tell(succession, heir, alone=False, wanted=3) == [Scaled(3)]
    assert tell(succession, heir, alone=False, wanted=2) == [Scaled(3), Scaled(2)]
