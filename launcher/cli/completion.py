"""Completion for shells: click's, for a command that is not a program of its own."""

import json
import re
import shlex
import sys

import click

from launcher import PACKAGE_ROOT
from launcher.cli.options import version
from launcher.cli.root import root

__all__ = ["VARIABLE", "complete", "completion"]

PROGRAM = "launcher"
VARIABLE = "_LAUNCHER_COMPLETE"
"""Set by the shell's script when it asks what could come next."""

FUNCTION = {
    "bash": 'launcher() {{ {command} "$@"; }}\n',
    "zsh": 'launcher() {{ {command} "$@"; }}\n',
    "fish": "function launcher; {command} $argv; end\n",
}


@click.command(
    epilog='Example, in ~/.bashrc: eval "$(python -m launcher completion bash)"\n\n'
    "Then: launcher reload <Tab>"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@version
def completion(shell: str) -> int:
    """Print what makes a shell know the command launcher, and complete it.

    launcher stands for python -m launcher with the Python that printed it, in
    any folder.
    """
    command = f"{shlex.quote(sys.executable)} {_how()}"
    click.echo(FUNCTION[shell].format(command=command) + _script(shell, command))
    return 0


def complete(instruction: str) -> int:
    """Answer the shell's script: ``bash_complete`` and its like."""
    from click.shell_completion import shell_complete

    return shell_complete(root, {}, PROGRAM, VARIABLE, instruction)


def _how() -> str:
    """What tells that Python to run the launcher, whichever folder the shell is in."""
    if PACKAGE_ROOT in sys.path[1:]:  # not only because it is the current folder
        return "-m launcher"
    program = f"import sys; sys.path.insert(0, {json.dumps(PACKAGE_ROOT)})"
    return f"-c {shlex.quote(f'{program}; from launcher.__main__ import command; command()')}"


def _script(shell: str, command: str) -> str:
    """click's script, which is for a program: here the name is a function's."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind, "one of click's own"
    # Not source(), which starts bash to look at its version.
    script = kind.source_template % kind(root, {}, PROGRAM, VARIABLE).source_vars()
    script = script.replace("$+commands[", "$+functions[")  # zsh
    called = re.compile(r"(_complete .*?)(\$1|launcher)\)")
    return called.sub(lambda found: f"{found[1]}{command})", script)
