"""``export``: what other engines need to run clusters, or to stand before them."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import cluster_names, version
from launcher.cli.text import printable
from launcher.errors import LauncherError, UsageError

if TYPE_CHECKING:
    from launcher.config.settings import Settings
    from launcher.export.terms import Cluster, File, Wishes
    from launcher.state.home import Home

__all__ = ["FORMATS", "export"]

CONTAINERS = frozenset({"image", "user"})
PROXIES = frozenset({"host"})

FORMATS = {
    "systemd": frozenset({"user", "socket"}),
    "quadlet": CONTAINERS,
    "compose": CONTAINERS,
    "kubernetes": CONTAINERS | {"hpa"},
    "dockerfile": CONTAINERS,
    "procfile": frozenset(),
    "haproxy": PROXIES,
    "nginx": PROXIES,
}
"""What there is, and the options that mean something to it."""

MAX_SIZE = 1 << 20
"""Bytes of a file that an export might be; a larger one is none of ours."""


@click.command(
    epilog="Example, for a unit of systemd: python -m launcher export systemd web\n\n"
    "Every file begins with a line that tells what wrote it. docs/deployment.md says what\n"
    "each engine does with its files, and why the figures in them are what they are."
)
@click.argument("format_", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@click.argument("names", metavar="[NAME...]", nargs=-1, shell_complete=cluster_names)
@click.option("--out", metavar="FOLDER", help="Write the files there instead of printing them.")
@click.option("--force", is_flag=True, help="With --out: replace files that differ.")
@click.option("--image", metavar="IMAGE", help="The container's; for dockerfile, what it is FROM.")
@click.option(
    "--user", metavar="USER", help="Who it runs as: of systemd's, or UID:GID in a container."
)
@click.option(
    "--host",
    metavar="HOST",
    multiple=True,
    help="A machine that the clusters run on, for proxies. May be repeated.",
)
@click.option("--socket", is_flag=True, help="For systemd: a socket unit holds the ports.")
@click.option("--hpa", is_flag=True, help="For kubernetes: scale by how many threads are busy.")
@version
def export(
    format_: str, names: tuple[str, ...], out: str | None, force: bool, **options: Any
) -> int:
    """Print what another engine needs to run clusters, or to stand before them.

    FORMAT: systemd, quadlet (Podman), compose, kubernetes, dockerfile, procfile
    to run them; haproxy, nginx to stand before them. NAME is an app of the
    cluster.toml in this folder, or a cluster that was started; without any: all
    apps of the cluster.toml.

    Settings come from there, not from variables. Of the app's variables an
    export has the names, never the values.
    """
    _require_sense(format_, options)
    if force and not out:
        raise UsageError("--force replaces files: it goes with --out FOLDER")
    exported = import_module(f"launcher.export.{format_}").export
    clusters = _clusters(names)
    files: list[File] = exported(clusters, _wishes(clusters, options))
    if out:
        _write(format_, files, out, force=force)
    else:
        click.echo("\n".join(file.stamped(format_) for file in files), nl=False)
    return 0


def _require_sense(format_: str, options: dict[str, Any]) -> None:
    for option, value in options.items():
        if value and option not in FORMATS[format_]:
            suited = ", ".join(name for name, own in FORMATS.items() if option in own)
            raise UsageError(f"--{option} means nothing to {format_}: it is for {suited}")


def _clusters(names: Sequence[str]) -> "list[Cluster]":
    """The clusters meant, from the file of this folder or as they were started."""
    from launcher.cli.asking.deadlines import time_to_start
    from launcher.config.inherited import not_kept, set_by_files
    from launcher.export.terms import Cluster
    from launcher.state.home import Home

    with ExitStack() as stack:
        home = Home.open_existing()
        if home:
            stack.enter_context(home)
        return [
            Cluster(
                settings,
                start_within=time_to_start(settings),
                owner=_owner(settings.chdir),
                of_files=_variables(set_by_files(settings)),
                of_shell=_variables(not_kept(before, settings)),
            )
            for settings, before in _chosen(names, home)
        ]


def _chosen(names: Sequence[str], home: "Home | None") -> "Iterable[tuple[Settings, list[str]]]":
    """The settings, and the names of the variables that a cluster was started with.

    Nothing of the environment of this command decides.
    """
    from launcher.cli.starting.plan import Planner
    from launcher.control.client import no_such_cluster

    if "all" in names and len(names) > 1:
        raise UsageError("'all' stands alone: it means all of cluster.toml, or every cluster")
    planner = Planner({}, {}, home)
    planner.look_here()
    of_file = planner.file.sections if planner.file else {}
    of_home = home.names() if home else []
    if not names or names == ("all",):
        names = list(of_file or (of_home if names else ()))
        if not names:
            raise UsageError("there is no cluster.toml in this folder: name a cluster")
    for name in names:
        if name not in of_file and name not in of_home:
            raise no_such_cluster(name, [*of_file, *of_home])
    return [
        (
            planner.word(name).settings,
            home.variables(name) if home and name not in of_file else [],
        )
        for name in dict.fromkeys(names)
    ]


def _variables(names: Iterable[str]) -> list[str]:
    """Those that every engine can name."""
    return sorted(name for name in names if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name))


def _owner(folder: str) -> str:
    """The user that a folder belongs to; empty if that is root."""
    import pwd

    uid = os.stat(folder).st_uid
    try:
        return pwd.getpwuid(uid).pw_name if uid else ""
    except KeyError:  # a number will do
        return str(uid)


def _wishes(clusters: "Sequence[Cluster]", options: dict[str, Any]) -> "Wishes":
    """The options, and what is to be known of this machine and the project."""
    from launcher import PACKAGE_ROOT
    from launcher.export.terms import Wishes

    for option in ("user", "image"):
        if not re.fullmatch(r"[\w.:/@-]*", options[option] or "", re.ASCII):
            raise UsageError(f"--{option}: {options[option]!r} is none")
    installed = os.path.basename(PACKAGE_ROOT) in ("site-packages", "dist-packages")
    folders = [each.settings.chdir for each in clusters]
    return Wishes(
        image=options["image"] or "",
        hosts=options["host"],
        user=options["user"] or "",
        socket=options["socket"],
        hpa=options["hpa"],
        python=sys.executable,
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        places=(sys.prefix, sys.base_prefix, PACKAGE_ROOT, *map(os.path.realpath, folders)),
        python_path="" if installed else PACKAGE_ROOT,
        requirements=any(os.path.isfile(f"{folder}/requirements.txt") for folder in folders),
    )


def _write(engine: str, files: "Sequence[File]", folder: str, *, force: bool) -> None:
    """Write all of the files, or none where one is there already that is another."""
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, file.name) for file in files]
    texts = [file.stamped(engine) for file in files]
    there = [_read(path) for path in paths]
    for path, text, before in zip(paths, texts, there, strict=True):
        if before not in (None, text) and not force:
            raise LauncherError(f"{path}: {_how_it_differs(before or '')}: --force replaces it")
    for path, text, before in zip(paths, texts, there, strict=True):
        if before != text:
            _replace(path, text)
        click.echo(f"{'unchanged' if before == text else 'wrote'}: {printable(path)}")


def _how_it_differs(text: str) -> str:
    from launcher.export.terms import File

    if not text.startswith("# ") or "launcher" not in text.partition("\n")[0]:
        return "is there already, and no export"
    return "was edited since it was exported" if File.edited(text) else "is of an earlier export"


def _read(path: str) -> str | None:
    from launcher.config.readers import open_regular

    try:
        with open_regular(path) as file:
            return file.read(MAX_SIZE).decode(errors="replace")
    except FileNotFoundError:
        return None


def _replace(path: str, text: str) -> None:
    """All of it or nothing: a reader meanwhile sees the old file or the new one."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)
