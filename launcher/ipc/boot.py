"""What the primary tells a pool to load, in a file in memory that it hands over."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import BinaryIO

from launcher.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Boot:
    """Which app to load and how; ``addresses`` are those of the listeners, by index."""

    settings: Settings
    addresses: list[str]
    generation: int

    def as_file(self) -> BinaryIO:
        """An anonymous file that holds this (memfd_create(2))."""
        file = os.fdopen(os.memfd_create("boot", os.MFD_CLOEXEC), "w+b")
        fields = [self.settings.to_json(), self.addresses, self.generation]
        file.write(json.dumps(fields).encode())
        file.flush()
        return file

    @classmethod
    def from_file(cls, fd: int) -> Boot:
        """What `as_file` wrote. The descriptor stays open and can be read again."""
        settings, addresses, generation = json.loads(os.pread(fd, 1 << 20, 0))
        return cls(Settings.from_json(settings), addresses, generation)
