"""A mark changes when a variable that is set by a file does, and tells nothing of its value."""

from __future__ import annotations

from pathlib import Path

from launcher.config.marks import mark_of, new_mark
from launcher.config.settings import Settings


def test_without_files_it_never_changes() -> None:
    mark = new_mark(Settings())
    assert mark_of(Settings(), mark.partition(":")[0]) == mark
    assert new_mark(Settings()) != mark, "each has a salt of its own"


def test_it_changes_with_a_variable_in_either_file(tmp_path: Path) -> None:
    config, variables = tmp_path / "cluster.toml", tmp_path / "variables"
    config.write_text('[apps.web]\nenv = { MODE = "one" }\n')
    variables.write_text("A=secret\n")
    settings = Settings(name="web", config=str(config), env_file=str(variables))
    mark = new_mark(settings)
    salt = mark.partition(":")[0]
    assert "secret" not in mark
    config.write_text('# other text, same variables\n[apps.web]\nenv = { MODE = "one" }\n')
    assert mark_of(settings, salt) == mark
    config.write_text('[apps.web]\nenv = { MODE = "two" }\n')
    another = mark_of(settings, salt)
    assert another != mark
    variables.write_text("A=other\n")
    assert mark_of(settings, salt) not in (mark, another)
