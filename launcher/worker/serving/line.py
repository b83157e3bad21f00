"""What the serving threads say: to the primary, and to the main thread of their worker."""

from __future__ import annotations

from typing import Protocol

from launcher.ipc.messages import Message


class Line(Protocol):
    """For any thread."""

    def tell(self, message: Message) -> None:
        """Say something to the primary, if it is still there."""

    def wake(self) -> None:
        """Have the main thread look again."""

    def reopen_logs(self, folders: list[int]) -> None:
        """Leave log files that were renamed.

        ``folders``: in the background, a descriptor of the folder they are in now.
        """
