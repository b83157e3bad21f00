"""The errors a user can do something about.

Raised anywhere, caught in one place (``launcher.cli.main``), which prints
``launcher: <message>`` on stderr and exits with ``exit_status``. Anything else
that escapes is a bug and keeps its traceback.
"""

__all__ = ["LauncherError", "NothingToDo", "UsageError"]


class LauncherError(Exception):
    """What was asked for could not be done; the message is one line that says why.

    ``detail``: lines that may be shown before it, e.g. the app's own traceback.
    """

    exit_status = 1

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class UsageError(LauncherError):
    """The request itself is wrong: an option, a variable or an argument."""

    exit_status = 2


class NothingToDo(LauncherError):
    """What was asked for is so already; the message says what is so.

    It is shown on stdout, after ``nothing to do: ``.
    """

    exit_status = 0

    @property
    def line(self) -> str:
        """What to tell."""
        return f"nothing to do: {self}"
