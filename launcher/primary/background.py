"""``python -m launcher.primary.background PLAN REPORT``: a primary without a terminal.

Started by ``cli/starting/spawn.py`` only; the arguments are inherited descriptors: a
file that says what to start, and a pipe for one reply of the control protocol.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import traceback
from typing import Any

from launcher.config.settings import Settings
from launcher.control.protocol import encode, ok, refused
from launcher.errors import LauncherError
from launcher.primary.main import serve
from launcher.state.home import Home

_MAX_PLAN = 1 << 20


class _Report:
    """The pipe to the command that waits for the start. Takes one reply; if the command has gone
    by then, the reply is dropped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self, addresses: list[str], workers: int) -> None:
        self._tell(ok({"bind": addresses, "workers": workers}))

    def failed(self, error: LauncherError) -> None:
        self._tell(refused(str(error), error.exit_status, error.detail))

    def _tell(self, reply: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        os.set_blocking(self._fd, True)
        with contextlib.suppress(BrokenPipeError), open(self._fd, "wb") as pipe:
            pipe.write(encode(reply))
        self._fd = -1


def main() -> int:
    """Run the cluster until it is stopped; the exit status."""
    plan, report = _inherited()
    os.chdir("/")  # keep no folder busy
    settings = dataclasses.replace(Settings.from_json(plan["settings"]), log_to_files=True)
    try:
        with Home.open() as home, home.claim(settings.name) as folder:
            return serve(settings, folder, report.ready, plan["mark"])
    except LauncherError as error:
        report.failed(error)
        return error.exit_status
    except OSError as error:
        report.failed(LauncherError(error.strerror or str(error)))
        return 1
    except BaseException:
        report.failed(LauncherError("a defect of the launcher", traceback.format_exc()))
        raise


def _inherited() -> tuple[dict[str, Any], _Report]:
    plan, report = map(int, sys.argv[1:3])
    os.set_inheritable(report, False)
    data = os.pread(plan, _MAX_PLAN, 0)
    os.close(plan)
    return json.loads(data), _Report(report)


if __name__ == "__main__":
    sys.exit(main())
