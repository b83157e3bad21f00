"""What a shell that has been told completes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.commands import COMMANDS
from launcher.state.home import Home
from tests.cli.tools import Console

BASH = """
eval "$({python} -m launcher completion bash)"
try() {{
    COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _launcher_completion
    echo "${{COMPREPLY[@]}}"
}}
try launcher ""
try launcher re
try launcher reload ""
try launcher stop w
try launcher logs b
try launcher start --wor
launcher --version
"""


def test_bash_completes_commands_options_and_clusters(console: Console) -> None:
    with Home.open(console.environ) as home:
        for name in ("web", "blog"):
            with home.claim(name) as folder:
                folder.write_app_json({})
    done = subprocess.run(
        ["bash", "-c", BASH.format(python=sys.executable)],
        cwd=console.folder,
        env=console.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    every, beginning, clusters, one, logs, option, version = done.stdout.splitlines()
    assert every.split() == list(COMMANDS)
    assert beginning.split() == [name for name in COMMANDS if name.startswith("re")]
    assert clusters.split() == ["blog", "web", "all"]
    assert one.split() == ["web"]
    assert logs.split() == ["blog"]
    assert option.split() == ["--workers"]
    assert version.startswith("launcher ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_for_that_shell(console: Console, tmp_path: Path, shell: str) -> None:
    script = console.ok("completion", shell)
    assert f"_LAUNCHER_COMPLETE={shell}_complete" in script
    assert "-m launcher" in script
    program = shutil.which(shell)
    if program:
        path = tmp_path / "script"
        path.write_text(script)
        subprocess.run([program, "-n", path], check=True, timeout=30)
