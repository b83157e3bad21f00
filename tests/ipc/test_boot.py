"""What a pool is told when it begins."""

from __future__ import annotations

from launcher.config.settings import Settings
from launcher.ipc.boot import Boot


def test_it_comes_out_of_its_file_as_it_went_in_and_does_so_again() -> None:
    boot = Boot(Settings(name="web", chdir="/", threads=3), ["127.0.0.1:3000", "unix:/x"], 7)
    with boot.as_file() as file:
        assert Boot.from_file(file.fileno()) == boot
        assert Boot.from_file(file.fileno()) == boot
