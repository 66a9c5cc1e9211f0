"""Patches: put in place and taken back, all or none of them."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import dulwich
import dulwich.cli
import dulwich.porcelain
import dulwich.stash
import pytest
from dulwich import porcelain
from dulwich.refs import DiskRefsContainer
from dulwich.repo import Repo
from dulwich.stash import Stash
from support.versions import needs_dulwich

import dulwich_reftable as dr
from dulwich_reftable.patching.table import AROUND_REPO, STOCK

from .sides import WHO

ROWS = [row for row in (*AROUND_REPO.patches, *STOCK.patches) if row.skipped_because is None]

needs_reflogs = needs_dulwich("0.24", "there was no porcelain.reflog")


def owner_of(target: str) -> tuple[Any, str]:
    """Find what an attribute is in."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    return owner, name


def current() -> dict[str, object]:
    """All attributes of the table, as they are now."""
    return {row.target: vars(owner_of(row.target)[0])[owner_of(row.target)[1]] for row in ROWS}


@pytest.fixture
def originals() -> Iterator[dict[str, object]]:
    """Give dulwich's own attributes; they have to be there again after the test."""
    gc.collect()  # repositories that other tests have not closed
    dr.uninstall()
    for held in (AROUND_REPO, STOCK):
        held.release(object)
    found = current()
    assert not AROUND_REPO.is_held
    yield found
    dr.uninstall()
    assert current() == found


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A reftable repository with one commit."""
    with dr.Repo.init(str(tmp_path / "repo"), mkdir=True, default_branch=b"main") as repo:
        porcelain.commit(repo, message=b"one", author=WHO, committer=WHO)
    return str(tmp_path / "repo")


def test_all_are_replaced_and_restored(originals: dict[str, object]) -> None:
    dr.install()
    replaced = current()
    assert all(replaced[target] is not found for target, found in originals.items())
    dr.install()
    assert current() == replaced
    dr.uninstall()
    assert current() == originals
    dr.uninstall()
    assert current() == originals


def test_patched_attributes_look_like_the_originals(originals: dict[str, object]) -> None:
    before = {target: describe(owner_of(target)) for target in originals}
    with dr.installed():
        assert {target: describe(owner_of(target)) for target in originals} == before


def describe(place: tuple[Any, str]) -> tuple[object, ...]:
    """What users see of a function."""
    function = getattr(*place)
    return (
        function.__name__,
        function.__doc__,
        inspect.signature(function),
        type(vars(place[0])[place[1]]),
    )


def test_installed_nests(originals: dict[str, object]) -> None:
    with dr.installed():
        with dr.installed():
            assert STOCK.is_held
        assert STOCK.is_held
        dr.install()
        dr.uninstall()
        assert STOCK.is_held
    assert current() == originals
    dr.install()
    with dr.installed():
        pass
    assert STOCK.is_held


def test_an_error_inside_takes_it_back(originals: dict[str, object]) -> None:
    with pytest.raises(ZeroDivisionError), dr.installed():
        raise ZeroDivisionError
    assert current() == originals


def test_threads(originals: dict[str, object], path: str) -> None:
    """Each has it installed for a while; none takes it from under another."""
    errors = []

    def work() -> None:
        try:
            for _ in range(20):
                with dr.installed(), Repo(path) as repo:
                    assert isinstance(repo.refs, dr.ReftableRefsContainer)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.target)
def test_a_missing_attribute(
    originals: dict[str, object], monkeypatch: pytest.MonkeyPatch, row: Any
) -> None:
    owner, name = owner_of(row.target)
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        before = {r.target: vars(owner_of(r.target)[0]).get(name) for r in ROWS}
        with pytest.raises(dr.UnsupportedDulwichError, match=row.target) as caught:
            dr.install()
        assert caught.value.target == row.target
        assert {r.target: vars(owner_of(r.target)[0]).get(name) for r in ROWS} == before
    assert isinstance(caught.value, dr.ReftableError)
    assert current() == originals


@needs_reflogs
@pytest.mark.parametrize(
    "changed",
    [
        lambda repo: None,  # fewer parameters
        lambda repo, ref, all, more: None,  # one more that has to be given
        lambda repo, all, ref: None,  # another order
        "not a function",
    ],
    ids=["fewer", "more", "order", "kind"],
)
def test_a_changed_shape(
    originals: dict[str, object], monkeypatch: pytest.MonkeyPatch, changed: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(dulwich.porcelain, "reflog", changed)
        before = current()
        with pytest.raises(dr.UnsupportedDulwichError, match=r"dulwich\.porcelain:reflog"):
            dr.install()
        assert current() == before
        with pytest.raises(dr.UnsupportedDulwichError), dr.installed():
            pass
        assert current() == before


def test_what_patches_rely_on_is_checked(
    originals: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(Stash, "drop")
        with pytest.raises(dr.UnsupportedDulwichError, match=r"Stash\.drop"):
            dr.install()
        assert current() == originals


@needs_reflogs
def test_further_parameters_with_defaults_are_welcome(
    originals: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(dulwich.porcelain, "reflog", lambda repo, ref, all, env=None: None)
        with dr.installed():
            pass


@needs_dulwich("0.24", "there was no dulwich.worktree")
def test_a_patch_of_somebody_else_stays(
    originals: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def theirs(repo: object) -> list[object]:
        return []

    with monkeypatch.context() as patch:
        dr.install()
        patch.setattr(dulwich.worktree, "list_worktrees", theirs)
        dr.uninstall()
        assert dulwich.worktree.list_worktrees is theirs
    dulwich.worktree.list_worktrees = originals["dulwich.worktree:list_worktrees"]  # type: ignore[assignment]


def test_files_repositories_are_dulwichs(originals: dict[str, object], tmp_path: Path) -> None:
    made = Repo.init(str(tmp_path / "files"), mkdir=True)
    made.close()
    before = sorted(vars(made))
    with dr.installed(), Repo(str(tmp_path / "files")) as repo:
        assert type(repo) is Repo
        assert type(repo.refs) is DiskRefsContainer
        assert sorted(vars(repo)) == before
        assert type(Stash(repo)) is Stash


def test_opening_a_stock_repo(originals: dict[str, object], path: str) -> None:
    with dr.installed():
        for opened in (Repo(path), Repo.discover(path), porcelain.open_repo(path)):
            with opened:
                assert isinstance(opened, dr.Repo)
                assert isinstance(opened.refs, dr.ReftableRefsContainer)
                assert opened.ref_format == "reftable"
                assert opened.head() == opened.refs[b"refs/heads/main"]


def test_open_repositories_outlive_it(originals: dict[str, object], path: str) -> None:
    with dr.installed():
        repo = Repo(path)
    assert current() == originals
    assert repo.refs[b"HEAD"]
    repo.close()


def test_classes_derived_from_stock_repo(originals: dict[str, object], path: str) -> None:
    class Theirs(Repo):
        def __init__(self, root: str) -> None:
            super().__init__(root)
            self.extra = self.get_description()

        def head(self) -> bytes:
            return b"theirs: " + super().head()

    with dr.installed(), Theirs(path) as repo:
        assert isinstance(repo, Theirs)
        assert isinstance(repo, dr.Repo)
        assert type(repo).__name__ == "Theirs"
        assert repo.head().startswith(b"theirs: ")
        assert repo.extra == b"Unnamed repository"
        with Theirs(path) as again:
            assert type(again) is type(repo)


class TestExplicitRepo:
    """Our class needs no install: what goes around it is replaced while it is open."""

    def test_while_it_is_open(self, originals: dict[str, object], path: str) -> None:
        first, second = dr.Repo(path), dr.Repo(path)
        assert AROUND_REPO.is_held
        assert not STOCK.is_held
        assert type(Stash(first)).__name__ == "ReftableStash"
        first.close()
        first.close()
        assert AROUND_REPO.is_held
        second.close()
        assert current() == originals

    def test_until_it_is_garbage(self, originals: dict[str, object], path: str) -> None:
        repo = dr.Repo(path)
        repo.object_store.close()
        repo.refs.close()
        del repo
        gc.collect()
        with dr.Repo(path):
            pass
        assert current() == originals

    def test_through_an_install(self, originals: dict[str, object], path: str) -> None:
        with dr.Repo(path) as repo:
            with dr.installed():
                pass
            assert type(Stash(repo)).__name__ == "ReftableStash"
            assert not STOCK.is_held

    def test_files_need_nothing(self, originals: dict[str, object], tmp_path: Path) -> None:
        with dr.Repo.init(str(tmp_path / "files"), mkdir=True, ref_format="files"):
            assert not AROUND_REPO.is_held

    @needs_reflogs
    def test_opens_although_dulwich_has_changed(
        self, originals: dict[str, object], path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Refs can be read all the same; the warning tells what cannot be done."""
        with monkeypatch.context() as patch:
            patch.delattr(dulwich.porcelain, "reflog")
            with pytest.warns(RuntimeWarning, match="dulwich.porcelain:reflog"):
                repo = dr.Repo(path)
            with repo:
                assert repo.refs[b"HEAD"]


def test_the_table_tells_why() -> None:
    rows = [*AROUND_REPO.patches, *STOCK.patches]
    targets = [row.target for row in rows]
    assert len(set(targets)) == len(targets)
    for row in rows:
        assert len(row.why.split()) > 5, row.target


def test_every_name_of_a_function_is_covered(originals: dict[str, object]) -> None:
    """A module that has imported a function by its name would go on calling the original.

    The same holds for a class that has a method under another name.
    """
    functions = {id(original): target for target, original in originals.items()}
    found = {}
    for module in dulwich_modules():
        owners = {module.__name__ + ":": module} | {
            f"{module.__name__}:{thing.__name__}.": thing
            for thing in vars(module).values()
            if inspect.isclass(thing) and thing.__module__ == module.__name__
        }
        for prefix, owner in owners.items():
            for name, thing in vars(owner).items():
                if id(thing) in functions:
                    found[prefix + name] = functions[id(thing)]
    assert found.keys() == originals.keys(), "what stands for a function, and is not replaced"


def dulwich_modules() -> Iterator[ModuleType]:
    """Give all modules of dulwich that can be imported here."""
    for found in pkgutil.walk_packages(dulwich.__path__, "dulwich."):
        if not found.name.startswith(("dulwich.contrib", "dulwich.tests", "dulwich.__main__")):
            with suppress(ImportError):
                yield importlib.import_module(found.name)
