"""How a package is built: its modules, folders and imports, read from the text of its files."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["MOST_LINES", "MOST_MODULES", "Arrow", "Structure", "below"]

MOST_LINES = 350
MOST_MODULES = 12


class Arrow(NamedTuple):
    """``importer`` names ``imported`` in an import."""

    importer: str
    imported: str


def below(name: str, packages: Iterable[str]) -> bool:
    """Whether a module is one of these packages or in one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


class Structure:
    """The package of the folder ``folder``, e.g. ``launcher``."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.parent
        self.modules: Mapping[str, Path] = {
            ".".join(path.relative_to(self._root).with_suffix("").parts).removesuffix(
                ".__init__"
            ): path
            for path in sorted(folder.rglob("*.py"))
        }
        self.imports = cache(self._imports)
        self.closure = cache(self._closure)

    def of_package(self, *packages: str) -> list[str]:
        """The modules of some of its packages."""
        return [name for name in self.modules if below(name, packages)]

    def _imports(self, module: str, *, typing: bool = False) -> frozenset[str]:
        """Every module that a module names in an import, wherever in its text.

        ``typing``: also those that only a type checker imports.
        """
        tree = ast.parse(self.modules[module].read_text())
        nodes = ast.walk(tree) if typing else _executed(tree)
        return frozenset(name for node in nodes for name in self._named(node))

    def _named(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module
            yield node.module
            both = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in both if name in self.modules)

    def _closure(self, module: str) -> frozenset[str]:
        """All modules that come along with one of these, with the packages around them."""
        found: set[str] = set()
        pending = {module}
        while pending:
            name = pending.pop()
            found.add(name)
            if name in self.modules:
                pending |= (self.imports(name) | {name.rpartition(".")[0] or name}) - found
        return frozenset(found)

    def arrows(self) -> frozenset[Arrow]:
        """Which module imports which, type-checking imports included.

        An import out of a module counts as one of the module, not also of its package.
        """
        found = set()
        for name in self.modules:
            named = self.imports(name, typing=True) & self.modules.keys()
            inner = {each.rpartition(".")[0] for each in named}
            found |= {Arrow(name, each) for each in named - (inner - self._with_names(name))}
        return frozenset(arrow for arrow in found if arrow.importer != arrow.imported)

    def _with_names(self, module: str) -> frozenset[str]:
        """The packages out of whose ``__init__`` a module imports something that is no module."""
        tree = ast.parse(self.modules[module].read_text())
        return frozenset(
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            if any(f"{node.module}.{alias.name}" not in self.modules for alias in node.names)
        )

    def circles(self) -> list[Arrow]:
        """The imports by which modules depend on themselves: each can be followed back."""
        arrows = self.arrows()
        following: dict[str, set[str]] = {}
        for arrow in arrows:
            following.setdefault(arrow.importer, set()).add(arrow.imported)
        return sorted(each for each in arrows if each.importer in _reached(each, following))

    def rooms(self, folder: str) -> set[str]:
        """The modules and folders in a folder."""
        return {_room(name, folder) for name in self.of_package(folder) if name != folder}

    def upward(self, folder: str, rooms: Sequence[str]) -> list[Arrow]:
        """The imports that lead from a room of a folder to one above it, or to no room.

        ``rooms``: the modules and folders in it, the highest first. The ``__init__`` of the
        folder itself is its door: it may open to every room.
        """
        floors = {room: floor for floor, room in enumerate(rooms)}
        found = []
        for arrow in self.arrows():
            if not all(below(name, (folder,)) and name != folder for name in arrow):
                continue
            here, there = (_room(name, folder) for name in arrow)
            if here != there and not floors.get(here, len(rooms)) < floors.get(there, -1):
                found.append(arrow)
        return sorted(found)

    def too_long(self) -> dict[str, int]:
        """The modules of more lines than a file may have, and how many they have."""
        lines = {name: len(path.read_text().splitlines()) for name, path in self.modules.items()}
        return {name: count for name, count in lines.items() if count > MOST_LINES}

    def too_full(self) -> dict[str, int]:
        """The folders with more modules than one may have, and how many they have."""
        counts: dict[str, int] = {}
        for path in self.modules.values():
            if path.name != "__init__.py":
                folder = str(path.parent.relative_to(self._root))
                counts[folder] = counts.get(folder, 0) + 1
        return {folder: count for folder, count in counts.items() if count > MOST_MODULES}

    def without_charter(self) -> list[str]:
        """The folders that do not say in an ``__init__.py`` what they are for."""
        folders = {path.parent for path in self.modules.values()}
        doors = {path.parent: path for path in self.modules.values() if path.name == "__init__.py"}
        return sorted(
            str(folder.relative_to(self._root))
            for folder in folders
            if folder not in doors or not ast.get_docstring(ast.parse(doors[folder].read_text()))
        )


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all in it but what only a type checker reads."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _room(module: str, folder: str) -> str:
    return module.removeprefix(f"{folder}.").partition(".")[0]


def _reached(start: Arrow, following: Mapping[str, set[str]]) -> set[str]:
    """The modules that the imported one depends on."""
    found: set[str] = set()
    pending = {start.imported}
    while pending:
        name = pending.pop()
        found.add(name)
        pending |= following.get(name, set()) - found
    return found
