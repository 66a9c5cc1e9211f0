"""Each answer is of one moment, whoever writes while it is being found.

Another container writes right before one of the looks at a list of tables by which an answer is
found; for each look in turn. The answer has to be one of those before and after that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import ObjectID
from dulwich.refs import Ref, SymrefLoop
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack
from dulwich_reftable.engine.stack.storage import Listing

ZERO, A, B, C = (ObjectID(digit * 40) for digit in (b"0", b"a", b"b", b"c"))
HEAD, MAIN, OTHER, SYM = map(
    Ref, (b"HEAD", b"refs/heads/main", b"refs/heads/other", b"refs/heads/sym")
)

Refs = dr.ReftableRefsContainer


def fill(refs: Refs) -> None:
    with refs.transaction() as transaction:
        transaction.update(MAIN, A)
        transaction.update(OTHER, B)
        transaction.set_symbolic_ref(HEAD, MAIN)
        transaction.set_symbolic_ref(SYM, HEAD)


def move_away(refs: Refs) -> None:
    """Let HEAD point to another branch, and delete the one that it was at."""
    refs.set_symbolic_ref(HEAD, OTHER)
    del refs[MAIN]


def in_batch(refs: Refs, ask: Callable[[], bool]) -> bool | None:
    """Ask what a batch says of an expectation; the batch is not carried out."""
    answer = None
    with suppress(InterruptedError), refs.batch_update():
        answer = ask()
        raise InterruptedError
    return answer


CALLS: dict[str, Callable[[Refs], Any]] = {
    "follow": lambda refs: refs.follow(SYM),
    "getitem": lambda refs: refs[SYM],
    "get_peeled": lambda refs: refs.get_peeled(SYM),
    "as_dict": lambda refs: refs.as_dict(),
    "as_dict below": lambda refs: refs.as_dict(Ref(b"refs/heads")),
    "allkeys": lambda refs: refs.allkeys(),
    "get_symrefs": lambda refs: refs.get_symrefs(),
    "get_packed_refs": lambda refs: refs.get_packed_refs(),
    "iter_refs": lambda refs: list(refs.iter_refs(exclude=[b"refs/heads/n"])),
    "reflogs": lambda refs: list(refs.reflogs()),
    "snapshot": lambda refs: list(refs.snapshot().iter_refs()),
    "add_if_new": lambda refs: refs.add_if_new(SYM, C),
    "add_if_new in a batch": lambda refs: in_batch(refs, lambda: refs.add_if_new(SYM, C)),
    "expecting nothing in a batch": lambda refs: in_batch(
        refs, lambda: refs.set_if_equals(SYM, ZERO, C)
    ),
    "expecting a value in a batch": lambda refs: in_batch(
        refs, lambda: refs.set_if_equals(SYM, A, C)
    ),
}


def looks(
    monkeypatch: pytest.MonkeyPatch, refs: Refs, before_look: int, act: Callable[[], None]
) -> list[str]:
    """Act before the look of that number at one of the container's lists; return all looks."""
    seen: list[str] = []
    ours = {stack.storage for stack in refs.store.stacks()}
    real = DirectoryStorage.refresh

    def refresh(storage: DirectoryStorage, known: Listing | None, max_age: float = 0) -> Listing:
        if storage in ours:
            seen.append(storage.location)
            if len(seen) == before_look:
                act()
        return real(storage, known, max_age)

    monkeypatch.setattr(DirectoryStorage, "refresh", refresh)
    return seen


@pytest.fixture(params=["main worktree", pytest.param("linked worktree", marks=requires_git)])
def git_dirs(request: pytest.FixtureRequest, repo: dr.Repo, tmp_path: Path) -> tuple[str, str]:
    """The control directories of a repository and of a worktree."""
    if request.param == "main worktree":
        return repo.commondir(), repo.commondir()
    blob = Git(Path(repo.path)).run("commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
    git = Git(Path(repo.path))
    linked = tmp_path / "linked"
    git.run("worktree", "add", "-q", "--detach", "--no-checkout", str(linked), blob.strip())
    return repo.commondir(), str(Git(linked).git_dir)


@pytest.mark.parametrize("name", CALLS)
def test_answer_is_of_one_moment(
    git_dirs: tuple[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    common_dir, git_dir = git_dirs
    refs, other = (Refs(common_dir, worktree_path=git_dir) for _ in "ab")
    call = CALLS[name]
    fill(other)
    before = call(refs)
    move_away(other)
    after = call(refs)
    at = 0
    for at in range(1, 20):
        fill(other)
        call(refs)  # so that what is open is the state before
        with monkeypatch.context() as patch:
            seen = looks(patch, refs, at, lambda: move_away(other))
            answer = call(refs)
        assert answer in (before, after), f"before look {at} at {seen}"
        if len(seen) < at:
            break
    assert at < 19
    refs.close()
    other.close()


def test_looking_has_an_end(repo: dr.Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes faster than two stacks can be looked at keeps nobody from reading."""
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    refs, other = (Refs(repo.commondir(), worktree_path=str(worktree)) for _ in "ab")
    fill(other)
    real = Stack.snapshot
    count = 0

    def snapshot(stack: Stack, max_age: float | None = None) -> Any:
        nonlocal count
        if stack in refs.store.stacks():
            count += 1
            other[Ref(b"refs/heads/n%d" % count)] = A
        return real(stack, max_age)

    monkeypatch.setattr(Stack, "snapshot", snapshot)
    assert refs.follow(HEAD) == ([HEAD, MAIN], A)
    assert 2 < count < 20


def test_symrefs_of_any_shape_end(repo: dr.Repo) -> None:
    refs = repo.refs
    chain = [Ref(b"refs/heads/s%d" % i) for i in range(7)]
    for name, target in pairwise(chain):
        refs.set_symbolic_ref(name, target)
    refs.set_symbolic_ref(chain[-1], chain[0])
    with pytest.raises(SymrefLoop):
        refs.follow(chain[0])
    assert refs.get_peeled(chain[0]) is None
    assert refs.as_dict() == {}
    with pytest.raises(SymrefLoop):
        refs.add_if_new(chain[0], A)
