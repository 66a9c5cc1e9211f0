"""The engine never imports dulwich, and its modules stand on each other in one direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dulwich_reftable.engine

ENGINE = Path(dulwich_reftable.engine.__file__ or "").parent
MODULES = sorted(path.stem for path in ENGINE.glob("*.py") if path.stem != "__init__")


def imported(module: str) -> Iterator[tuple[int, str]]:
    """The level (dots) and the module name of each import, wherever in the file it stands."""
    tree = ast.parse((ENGINE / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_there_is_something_to_check() -> None:
    assert {"block", "coding", "errors", "merged", "records", "table", "writer"} <= {*MODULES}


def test_importing_all_of_it_loads_no_dulwich() -> None:
    """The package above is stubbed: it does import dulwich, and the engine must not need it."""
    program = f"""
import sys, types
package = types.ModuleType("dulwich_reftable")
package.__path__ = [{str(ENGINE.parent)!r}]
sys.modules["dulwich_reftable"] = package
import importlib
for name in {MODULES!r}:
    importlib.import_module("dulwich_reftable.engine." + name)
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("dulwich", "urllib3")))
print(*sorted(name for name in sys.modules if name.startswith("dulwich_reftable.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    foreign, own = done.stdout.splitlines()
    assert foreign == ""
    assert {name.rpartition(".")[2] for name in own.split()} == {*MODULES, "engine"}


def test_no_import_leads_out_of_the_engine() -> None:
    for module in (*MODULES, "__init__"):
        for level, name in imported(module):
            if level:
                assert level == 1, f"{module} imports from above the engine: {name}"
            else:
                first = name.split(".")[0]
                assert first in sys.stdlib_module_names, f"{module} imports {name}"


def test_imports_point_one_way() -> None:
    below = {module: {name for level, name in imported(module) if level} for module in MODULES}
    order: list[str] = []
    while len(order) < len(MODULES):
        free = [m for m in MODULES if m not in order and below[m] <= {*order}]
        assert free, f"these import each other: {sorted({*MODULES} - {*order})}"
        order += free
    assert order[0] in ("coding", "errors")
