"""What the package needs of dulwich is listed, and missed with a clear error when it is gone."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dulwich
import pytest

import dulwich_reftable as dr
from dulwich_reftable import compat
from dulwich_reftable.compat import CONTAINER, REPO, SERVER, Requirement, UnsupportedDulwichError
from dulwich_reftable.patching.patch_set import Patch, PatchSet
from dulwich_reftable.patching.table import AROUND_REPO, STOCK

ROOT = Path(dr.__file__ or "").parent
# Below that, the server cannot be imported.
_SERVER = () if compat.is_older(compat.PARTS_SINCE["server"]) else SERVER
REQUIREMENTS = tuple(
    requirement
    for requirement in (*CONTAINER, *REPO, *_SERVER)
    if not compat.is_older(requirement.since)
)
ROWS = tuple(row for row in (*AROUND_REPO.patches, *STOCK.patches) if row.skipped_because is None)
RELIED_ON = tuple(requirement for row in ROWS for requirement in row.relies_on)
OWN = ("self", "cls", "super()")
CHECKED: tuple[Patch | Requirement, ...] = (*REQUIREMENTS, *RELIED_ON, *ROWS)
DECLARED = {re.split("[.:]", row.target)[-1] for row in CHECKED}
"""Names that are checked before they are used."""


def check(requirement: Requirement) -> None:
    """Check the list that the requirement is in."""
    if requirement in REQUIREMENTS:
        compat.check_all(REQUIREMENTS)
    else:
        PatchSet(ROWS).check()


def break_it(patch: pytest.MonkeyPatch, requirement: Requirement) -> None:
    """Take the attribute away."""
    module, _, path = requirement.target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    if requirement.parameters is None:
        patch.setattr(owner, "__init__", lambda self: None)
    else:
        patch.delattr(owner, name)


@pytest.mark.parametrize("requirement", [*REQUIREMENTS, *RELIED_ON], ids=lambda r: r.target)
def test_each_is_missed_by_its_name(
    monkeypatch: pytest.MonkeyPatch, requirement: Requirement
) -> None:
    check(requirement)
    with monkeypatch.context() as patch:
        break_it(patch, requirement)
        with pytest.raises(UnsupportedDulwichError, match=re.escape(requirement.target)) as caught:
            requirement.check()
        assert caught.value.target == requirement.target
        with pytest.raises(UnsupportedDulwichError):
            check(requirement)
    check(requirement)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.target)
def test_each_says_what_it_is_for(requirement: Requirement) -> None:
    assert len(requirement.why.split()) > 4


@pytest.mark.parametrize(
    ("use", "target"),
    [
        ("", "dulwich.refs:RefsContainer._log"),
        ("dr.Repo", "dulwich.repo:BaseRepo._init_files"),
        ("dr.install()", "dulwich.repo:Repo._init_new_working_directory"),
    ],
)
def test_importing_a_part_tells_what_it_misses(use: str, target: str) -> None:
    """A part that does not need it is there."""
    program = f"""
import dulwich.refs, dulwich.repo
del {target.replace(":", ".")}
try:
    import dulwich_reftable as dr
    dr.ReftableRefsContainer
    print("container")
    {use}
except ImportError as error:
    print(type(error).__name__, error.target)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    before = ["container"] if use else []
    assert done.stdout.split() == [*before, "UnsupportedDulwichError", target]


@pytest.mark.parametrize("part", compat.PARTS_SINCE)
def test_a_part_says_which_version_it_needs(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    since = compat.PARTS_SINCE[part]
    monkeypatch.setattr(dulwich, "__version__", since)
    compat.check_version(part)
    monkeypatch.setattr(dulwich, "__version__", (1, 0, 0))
    with pytest.raises(
        UnsupportedDulwichError, match=rf"{part}: it needs dulwich 1\.2\."
    ) as caught:
        compat.check_version(part)
    assert caught.value.target == f"dulwich_reftable.{part}"


@pytest.mark.parametrize("part", compat.PARTS_SINCE)
def test_a_part_checks_the_version(part: str) -> None:
    """Importing it with an old dulwich fails by the check, and not by what dulwich lacks."""
    program = f"""
import dulwich
import dulwich_reftable
dulwich.__version__ = (1, 0, 0)
try:
    import dulwich_reftable.{part}
except ImportError as error:
    print(type(error).__name__, error.target)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["UnsupportedDulwichError", f"dulwich_reftable.{part}"]


class TestShapes:
    """A function that takes other parameters than expected is refused."""

    @staticmethod
    def check(patch: pytest.MonkeyPatch, function: object, *, exact: bool) -> None:
        patch.setattr(dulwich.repo, "_set_filesystem_hidden", function)
        Requirement("dulwich.repo:_set_filesystem_hidden", ("path",), exact=exact).check()

    @pytest.mark.parametrize("exact", [False, True])
    @pytest.mark.parametrize(
        "function", [lambda: None, lambda root: None, lambda path, more: None, "text"]
    )
    def test_others(self, monkeypatch: pytest.MonkeyPatch, function: object, exact: bool) -> None:
        with pytest.raises(UnsupportedDulwichError, match="_set_filesystem_hidden"):
            self.check(monkeypatch, function, exact=exact)

    def test_one_more_with_a_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is no harm to a caller; an override could not take it."""
        self.check(monkeypatch, lambda path, more=None: None, exact=False)
        with pytest.raises(UnsupportedDulwichError, match=r"takes \(path, more\)"):
            self.check(monkeypatch, lambda path, more=None: None, exact=True)


def test_an_attribute_newer_than_this_dulwich_is_not_patched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What never was there needs no patch; what has gone is an error."""
    target = "dulwich.gc:no_such"
    gone = Patch(target, ("repo",), "stash:construct", "why", since=(1, 3))
    monkeypatch.setattr(dulwich, "__version__", (1, 2, 21))
    patches = PatchSet([gone])
    patches.check()
    assert patches.skipped == {target: "only dulwich 1.3 and newer need it"}
    monkeypatch.setattr(dulwich, "__version__", (1, 3, 0))
    patches = PatchSet([gone])
    assert patches.skipped == {}
    with pytest.raises(UnsupportedDulwichError, match=r"1\.3\.0.*dulwich\.gc:no_such"):
        patches.check()


def test_nothing_is_skipped_that_this_dulwich_has() -> None:
    """A skipped row says from which version on it is needed, and that is true."""
    for row in (*AROUND_REPO.patches, *STOCK.patches):
        if row.skipped_because is not None:
            with pytest.raises(UnsupportedDulwichError, match=re.escape(row.target)):
                compat.find_function(row.target, row.parameters)


# Nothing private is used that is not declared


def sources() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("engine/"):  # it imports nothing of dulwich
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def private_names_of_dulwich() -> set[str]:
    defined = re.compile(r"(?:def |class |self\.|cls\.|^)(_[a-z]\w*)", re.MULTILINE)
    return {
        name
        for path in Path(dulwich.__file__ or "").parent.glob("*.py")
        for name in defined.findall(path.read_text(encoding="utf-8"))
    }


OURS = {"_store"}
"""Attributes of our own classes that have the name of a private one of dulwich."""

ALLOWED = {
    ("compat/shapes.py", "_get_config_condition_matchers"),
    ("compat/shapes.py", "_set_filesystem_hidden"),
    ("compat/shapes.py", "_values"),
    ("patches/stock.py", "_init_maybe_bare"),  # of our Repo, which has parameters of its own
}


def test_only_compat_reaches_into_dulwich() -> None:
    private = private_names_of_dulwich() - OURS
    assert "_values" in private
    found = set()
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dulwich."):
                found |= {(path, alias.name) for alias in node.names if alias.name[0] == "_"}
            elif (
                isinstance(node, ast.Attribute)
                and node.attr in private
                and ast.unparse(node.value) not in OWN
            ):
                found.add((path, node.attr))
    assert found == {(path, name) for path, name in ALLOWED if name in private}


LACKS_SOMETHING = compat.is_older(max(compat.PARTS_SINCE.values()))
"""Whether some of our modules need a newer dulwich than this one."""


def our_classes() -> Iterator[type]:
    """Give our classes that derive from one of dulwich's."""
    for found in pkgutil.walk_packages(dr.__path__, "dulwich_reftable."):
        if found.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(found.name)
        except ImportError:
            if LACKS_SOMETHING:
                continue
            raise
        for thing in vars(module).values():
            if (
                inspect.isclass(thing)
                and thing.__module__ == found.name
                and any(base.__module__.startswith("dulwich.") for base in thing.__mro__)
            ):
                yield thing


def own_source(kind: type) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(kind)))


@pytest.mark.parametrize("kind", sorted(our_classes(), key=str), ids=lambda kind: kind.__name__)
def test_what_derived_classes_override_and_use_is_declared(kind: type) -> None:
    ours = [base for base in kind.__mro__ if base.__module__.startswith("dulwich_reftable.")]
    theirs = [base for base in kind.__mro__ if base.__module__.startswith("dulwich.")]
    overridden = {name for name in vars(kind) if any(name in vars(base) for base in theirs)}
    attributes = [
        node
        for base in ours
        for node in ast.walk(own_source(base))
        if isinstance(node, ast.Attribute)
    ]
    set_here = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    known = set_here.union(*(vars(base) for base in ours))
    inherited = {
        node.attr
        for node in ast.walk(own_source(kind))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in OWN
        and node.attr not in known
    }
    # What `abc` and `typing` add has other names in PyPy.
    private = {name for name in overridden | inherited if re.match(r"_(?!abc_)[a-z]", name)}
    assert private - {"_is_protocol"} <= DECLARED
