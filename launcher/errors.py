"""The errors a user can do something about.

Raised anywhere, caught in one place (``launcher.cli.main``), which prints
``launcher: <message>`` on stderr and exits with ``exit_status``. Anything else
that escapes is a bug and keeps its traceback.
"""

__all__ = ["LauncherError", "UsageError"]


class LauncherError(Exception):
    """What was asked for could not be done; the message is one line that says why."""

    exit_status = 1


class UsageError(LauncherError):
    """The request itself is wrong: an option, a variable or an argument."""

    exit_status = 2
