"""The order of the house: who may import whom. Imports point one way, without a circle.

A room is a package of :data:`ROOMS`. A module may import from its own room and from those before
it. What is imported inside of a function, or for types only, is held to the same order.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dulwich_reftable

PACKAGE = "dulwich_reftable"
ROOT = Path(dulwich_reftable.__file__ or "").parent

ROOMS = (
    "engine.errors",
    "engine.format",
    "engine.table",
    "engine.stack",
    "compat",
    "objects",
    "config",
    "naming",
    "inspection",
    "verification",
    "refs",
    "expiry",
    "patching",
    "repo",
    "bucket",
    "patches",
    "migration",
    "copying",
    "server",
    "server.upload_pack",
    "server.receive_pack",
    "server.handlers",
    "server.transport",
    "server.__init__",
    "automatic",
    "__init__",
    "cli",
    "__main__",
)
"""From the ground up."""

FACADES = {"", "server"}
"""Packages whose ``__init__`` names things of the rooms above it, and is a room of its own."""

APART = {"server.upload_pack", "server.receive_pack"}
"""Rooms that do not know each other."""

CONTAINERS = {"refs", "_refs", "container"}
"""What a refs container is called where it is used."""


class Import(NamedTuple):
    """One import, by the names of modules without that of the package."""

    module: str
    imported: str


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str:
    if module in FACADES:
        return f"{module}.__init__".lstrip(".")
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


def package_of(module: str) -> list[str]:
    parts = module.split(".") if module else []
    return parts if MODULES[module].name == "__init__.py" else parts[:-1]


def nodes(module: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(MODULES[module].read_text()))


def relative_imports(module: str) -> Iterator[Import]:
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package_of(module)
            base = above[: len(above) - node.level + 1] + (node.module or "").split(".")
            stem = ".".join(filter(None, base))
            for alias in node.names:
                inner = f"{stem}.{alias.name}".lstrip(".")
                yield Import(module, inner if inner in MODULES else stem)


def absolute_imports(module: str) -> Iterator[str]:
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


IMPORTS = [found for module in MODULES if module for found in relative_imports(module)]


def test_there_is_something_to_check() -> None:
    assert {"engine.format.block", "refs.container", "server.folder", "cli"} <= MODULES.keys()
    assert Import("engine.table.table", "engine.format.records") in IMPORTS


def test_every_module_has_its_room() -> None:
    outside = [name for name in MODULES if name != "engine"]
    assert {room_of(name) for name in outside} == {*ROOMS}


def test_no_import_points_up() -> None:
    up = [
        found
        for found in IMPORTS
        if ROOMS.index(room_of(found.imported)) > ROOMS.index(room_of(found.module))
    ]
    assert not up


def test_rooms_that_stand_apart_do_not_import_each_other() -> None:
    for found in IMPORTS:
        rooms = {room_of(found.imported), room_of(found.module)}
        assert len(rooms & APART) < 2, f"{found.module} imports {found.imported}"


def test_there_is_no_circle() -> None:
    below = {
        module: {found.imported for found in IMPORTS if found.module == module}
        for module in MODULES
    }
    left = {*MODULES} - {""}
    while left:
        free = {module for module in left if not below[module] - {module} & left}
        assert free, f"these import each other: {sorted(left)}"
        left -= free


def test_our_own_modules_are_imported_relatively() -> None:
    for module in MODULES:
        own = [name for name in absolute_imports(module) if name.split(".")[0] == PACKAGE]
        assert not own or module == "__main__", f"{module} imports {own}"


def private_attributes(source: str) -> set[str]:
    """Find the private attributes of refs containers that a program reads."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr[:1] == "_" and node.attr[:2] != "__":
            owner = node.value
            name = getattr(owner, "id", None) or getattr(owner, "attr", None)
            if name in CONTAINERS:
                found.add(node.attr)
    return found


def test_only_the_room_of_refs_reads_private_attributes_of_a_container() -> None:
    assert private_attributes("repo.refs._moment(refs._a, refs.read_ref, refs.__class__)") == {
        "_moment",
        "_a",
    }
    for module, path in MODULES.items():
        if not module.startswith("refs."):
            found = private_attributes(path.read_text())
            assert not found, f"{module} reads {found} of a refs container"


def test_the_engine_imports_nothing_but_the_standard_library() -> None:
    for module in MODULES:
        if module.startswith("engine."):
            for name in absolute_imports(module):
                assert name.split(".")[0] in sys.stdlib_module_names, f"{module} imports {name}"


def test_importing_all_of_the_engine_loads_no_dulwich() -> None:
    """The package above is stubbed: it does import dulwich, and the engine must not need it."""
    engine = [name for name in MODULES if name.startswith("engine.")]
    program = f"""
import sys, types
package = types.ModuleType({PACKAGE!r})
package.__path__ = [{str(ROOT)!r}]
sys.modules[{PACKAGE!r}] = package
import importlib
for name in {engine!r}:
    importlib.import_module({PACKAGE!r} + "." + name)
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("dulwich", "urllib3")))
print(*sorted(name for name in sys.modules if name.startswith({PACKAGE + "."!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    foreign, own = done.stdout.splitlines()
    assert foreign == ""
    assert {name.partition(".")[2] for name in own.split()} == {*engine, "engine"}
