"""What dulwich's ref API means, point by point, on a reftable repository.

The ids are of objects that do not exist: a ref store does not care.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from dulwich.errors import RefFormatError
from dulwich.refs import DiskRefsContainer, SymrefLoop
from support.versions import needs_dulwich

import dulwich_reftable as dr

ZERO = b"0" * 40
A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
HEAD, MAIN, OTHER = b"HEAD", b"refs/heads/main", b"refs/heads/other"
LOOP, DANGLING, ALIAS = b"refs/heads/loop", b"refs/heads/dangling", b"refs/heads/alias"
TAG, ABSENT = b"refs/tags/v1", b"refs/heads/absent"
JUNK = [b"c0ffee", b"", b"ref: refs/heads/main", b"z" * 40, b"A" * 40]

STORED = {
    HEAD: b"ref: " + MAIN,
    MAIN: A,
    OTHER: B,
    LOOP: b"ref: " + LOOP,
    DANGLING: b"ref: refs/heads/none",
    ALIAS: b"ref: " + OTHER,
    TAG: C,
}
RESOLVED = {HEAD: A, MAIN: A, OTHER: B, ALIAS: B, TAG: C}

BAD_NAMES = [
    b"notrefs/foo", b"refs", b"refs/", b"", b"../secret", b"/etc/passwd", b"refs/heads/a..b",
    b"refs/heads/a.lock", b"refs/heads/a.lock/b", b"refs/heads/.a", b"refs/heads/a/", b"refs/a b",
    b"refs/heads/a\x7f", b"refs/heads/a\n", b"refs/heads/a~1", b"refs/heads/a^", b"refs/heads/a:b",
    b"refs/heads/a?", b"refs/heads/a*", b"refs/heads/a[", b"refs/heads/a\\b", b"refs/heads/a@{1}",
    b"refs/../../x", b"refs/heads/a.", b"@", b"head",
]  # fmt: skip
BAD_VALUES = [b"", b"42d06bd", b"../../config", b"z" * 40, A[:-1], A + b"a", b"ref:" + MAIN]


@pytest.fixture
def refs(refs: dr.ReftableRefsContainer) -> dr.ReftableRefsContainer:
    """Fill the container with `STORED`."""
    for name, value in STORED.items():
        if value.startswith(b"ref: "):
            refs.set_symbolic_ref(name, value[5:])
        else:
            refs[name] = value
    return refs


def stack(repo: dr.Repo) -> tuple[str, ...]:
    """Return the tables listed: the same list means that nothing was written."""
    return repo.refs.store.shared.storage.refresh(None).names


def test_reading(refs: dr.ReftableRefsContainer) -> None:
    for name, value in STORED.items():
        assert refs.read_ref(name) == refs.read_loose_ref(name) == value
        assert name in refs
    for name, value in RESOLVED.items():
        assert refs[name] == value
    for name in (ABSENT, b"refs/heads", b"refs/heads/main/sub", b"refs/heads/mai"):
        assert refs.read_ref(name) is refs.read_loose_ref(name) is refs.get_peeled(name) is None
        assert name not in refs
        with pytest.raises(KeyError):
            refs[name]


@pytest.mark.directory
def test_paths(repo: dr.Repo, tmp_path: Path) -> None:
    """They are bytes, which callers join with names."""
    theirs = DiskRefsContainer(repo.commondir(), str(tmp_path / "linked"))
    ours = dr.ReftableRefsContainer(repo.commondir(), worktree_path=str(tmp_path / "linked"))
    assert (ours.path, ours.worktree_path) == (theirs.path, theirs.worktree_path)
    assert repo.refs.worktree_path == repo.refs.path == os.fsencode(repo.controldir())


def test_listing(refs: dr.ReftableRefsContainer) -> None:
    assert refs.allkeys() == refs.keys() == set(refs) == STORED.keys()
    assert refs.as_dict() == RESOLVED
    assert list(refs.iter_refs()) == sorted(STORED.items())
    assert refs.get_symrefs() == {n: v[5:] for n, v in STORED.items() if v[:5] == b"ref: "}
    assert refs.get_packed_refs() == {MAIN: A, OTHER: B, TAG: C}


@pytest.mark.parametrize("base", [b"refs/heads", b"refs/heads/"])
def test_base_with_and_without_slash(refs: dr.ReftableRefsContainer, base: bytes) -> None:
    refs[b"refs/headstrong"] = C  # begins like the base, but is not below it
    below = {b"main", b"other", b"loop", b"dangling", b"alias"}
    assert refs.subkeys(base) == refs.keys(base) == below
    assert refs.as_dict(base) == {b"main": A, b"other": B, b"alias": B}


def test_follow(refs: dr.ReftableRefsContainer) -> None:
    assert refs.follow(MAIN) == ([MAIN], A)
    assert refs.follow(ALIAS) == ([ALIAS, OTHER], B)
    assert refs.follow(DANGLING) == ([DANGLING, b"refs/heads/none"], None)
    assert refs.follow(ABSENT) == ([ABSENT], None)
    with pytest.raises(SymrefLoop):
        refs.follow(LOOP)


def test_follow_goes_as_deep_as_git(refs: dr.ReftableRefsContainer) -> None:
    """Five refs in a chain, not six; and lists agree, whichever ref they come upon first."""
    for letter in b"abcdefgh":
        chain = [b"refs/heads/%c%d" % (letter, at) for at in range(6)]
        refs[chain[5]] = C
        for name, target in pairwise(chain):
            refs.set_symbolic_ref(name, target)
        assert refs.follow(chain[1]) == (chain[1:], C)
        with pytest.raises(SymrefLoop):
            refs.follow(chain[0])
        assert refs.as_dict().keys() & chain == set(chain[1:])


def test_unborn_head(repo: dr.Repo) -> None:
    assert HEAD in repo.refs
    assert repo.refs.follow(HEAD) == ([HEAD, MAIN], None)
    with pytest.raises(KeyError):
        repo.refs[HEAD]
    assert repo.refs.as_dict() == {}


# -- comparing and writing


@pytest.mark.parametrize("name", [MAIN, HEAD])
@pytest.mark.parametrize(
    ("old", "answer"),
    [(None, True), (A, True), (B, False), (ZERO, False), *((junk, False) for junk in JUNK)],
)
def test_set_where_a_ref_is(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, name: bytes, old: bytes | None, answer: bool
) -> None:
    before = stack(repo)
    assert refs.set_if_equals(name, old, C) is answer
    assert refs[MAIN] == (C if answer else A)
    assert refs.read_ref(HEAD) == b"ref: " + MAIN
    assert (stack(repo) != before) is answer


@pytest.mark.parametrize("name", [ABSENT, DANGLING])
@pytest.mark.parametrize(
    ("old", "answer"), [(None, True), (ZERO, True), (A, False), *((junk, False) for junk in JUNK)]
)
def test_set_where_no_ref_is(
    refs: dr.ReftableRefsContainer, name: bytes, old: bytes | None, answer: bool
) -> None:
    assert refs.set_if_equals(name, old, C) is answer
    real = refs.follow(name)[0][-1]
    assert refs.read_ref(real) == (C if answer else None)


@pytest.mark.parametrize(
    ("old", "answer"), [(None, True), (A, True), (B, False), (ZERO, False), (b"junk", False)]
)
def test_set_to_the_same_value(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, old: bytes | None, answer: bool
) -> None:
    before = stack(repo)
    assert refs.set_if_equals(MAIN, old, A, message=b"no news") is answer
    assert stack(repo) == before
    assert not refs.reflog_exists(MAIN)


def test_add(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = stack(repo)
    assert refs.add_if_new(MAIN, C) is False
    assert refs.add_if_new(HEAD, C) is False
    assert stack(repo) == before
    assert refs.add_if_new(ABSENT, C) is True
    assert refs.add_if_new(DANGLING, C) is True
    assert refs[b"refs/heads/none"] == C
    assert refs.read_ref(DANGLING) == STORED[DANGLING]


def test_set_through_a_loop_replaces_it(refs: dr.ReftableRefsContainer) -> None:
    """The ref that was named gets the value, not the one where following it was given up."""
    x, y, z = (b"refs/heads/x", b"refs/heads/y", b"refs/heads/z")
    for name, target in ((x, y), (y, z), (z, x)):
        refs.set_symbolic_ref(name, target)
    for name in (LOOP, x):
        refs[name] = C
        assert refs.follow(name) == ([name], C)
    assert refs.follow(y) == ([y, z, x], C)


@pytest.mark.parametrize(
    ("old", "answer"),
    [(None, True), (A, True), (B, False), (ZERO, False), *((junk, False) for junk in JUNK)],
)
def test_remove(refs: dr.ReftableRefsContainer, old: bytes | None, answer: bool) -> None:
    assert refs.remove_if_equals(MAIN, old) is answer
    assert (MAIN in refs) is not answer
    assert refs.read_ref(HEAD) == b"ref: " + MAIN


@pytest.mark.parametrize(("old", "answer"), [(None, True), (ZERO, True), (A, False), (b"?", False)])
def test_remove_what_is_not_there(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, old: bytes | None, answer: bool
) -> None:
    before = stack(repo)
    assert refs.remove_if_equals(ABSENT, old) is answer
    assert stack(repo) == before


def test_remove_takes_the_symref_itself(refs: dr.ReftableRefsContainer) -> None:
    assert refs.remove_if_equals(HEAD, A) is False  # the value behind it is not its value
    assert refs.remove_if_equals(HEAD, b"ref: " + MAIN) is True
    del refs[LOOP], refs[ALIAS], refs[DANGLING]
    assert dict(refs.iter_refs()) == {MAIN: A, OTHER: B, TAG: C}


def test_setitem_makes_symrefs(refs: dr.ReftableRefsContainer) -> None:
    refs[ABSENT] = b"ref: " + MAIN
    assert refs.read_ref(ABSENT) == b"ref: " + MAIN
    assert refs[ABSENT] == A
    refs[ABSENT] = C  # and is followed by the next one
    assert refs[MAIN] == C


def test_set_symbolic_ref_over_anything(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    for name in (TAG, ALIAS, LOOP, ABSENT):
        refs.set_symbolic_ref(name, MAIN)
        assert refs.read_ref(name) == b"ref: " + MAIN
    assert refs[OTHER] == B
    before = stack(repo)
    refs.set_symbolic_ref(TAG, MAIN)
    assert stack(repo) == before


# -- what is refused


Write = Callable[[], object]


def every_write(refs: dr.ReftableRefsContainer, name: bytes, value: bytes) -> list[Write]:
    """Return each way of writing a ref."""
    return [
        lambda: refs.set_if_equals(name, None, value),
        lambda: refs.add_if_new(name, value),
        lambda: refs.__setitem__(name, value),
        lambda: refs.add_packed_refs({name: value}),
    ]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(refs: dr.ReftableRefsContainer, repo: dr.Repo, name: bytes) -> None:
    before = stack(repo)
    writes = every_write(refs, name, A)
    writes += [
        lambda: refs.remove_if_equals(name, None),
        lambda: refs.set_symbolic_ref(name, MAIN),
        lambda: refs.set_symbolic_ref(ABSENT, name),
        lambda: refs.__setitem__(ABSENT, b"ref: " + name),
    ]
    for write in writes:
        with pytest.raises(RefFormatError):
            write()
    assert stack(repo) == before
    assert refs.read_ref(name) is refs.read_loose_ref(name) is None
    assert name not in refs
    with pytest.raises(KeyError):
        refs[name]


@pytest.mark.parametrize("value", [*BAD_VALUES, b"a" * 64])
def test_bad_values(refs: dr.ReftableRefsContainer, repo: dr.Repo, value: bytes) -> None:
    """An id of the other hash is one of them: no table of this repository could hold it."""
    before = stack(repo)
    for name in (MAIN, ABSENT):
        for write in every_write(refs, name, value):
            with pytest.raises(ValueError):  # noqa: PT011 - dulwich promises no more
                write()
    assert stack(repo) == before


@pytest.mark.parametrize("name", [MAIN + b"/sub", MAIN + b"/sub/sub", b"refs/deep/er"])
def test_file_and_directory(refs: dr.ReftableRefsContainer, repo: dr.Repo, name: bytes) -> None:
    refs[b"refs/deep/er/ref"] = A
    before = stack(repo)
    writes = [*every_write(refs, name, B), lambda: refs.set_symbolic_ref(name, OTHER)]
    for write in writes:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - what dulwich's callers catch
            write()
        assert isinstance(caught.value, dr.RefConflictError)
    assert stack(repo) == before


def test_no_conflict_once_the_other_is_gone(refs: dr.ReftableRefsContainer) -> None:
    del refs[MAIN]
    refs[MAIN + b"/sub"] = B
    with pytest.raises(dr.RefConflictError):
        refs[HEAD] = B  # its target is now a directory
    del refs[MAIN + b"/sub"]
    refs[HEAD] = B
    assert refs[MAIN] == B


def test_names_without_slash(refs: dr.ReftableRefsContainer) -> None:
    """Root refs live in the stack like HEAD, but no list shows them."""
    for name in (b"ORIG_HEAD", b"CHERRY_PICK_HEAD", b"refs/stash"):
        assert refs.set_if_equals(name, ZERO, C) is True
        assert refs.read_ref(name) == refs[name] == C
        assert name in refs
        assert (name in refs.allkeys()) is name.startswith(b"refs/")
        assert refs.remove_if_equals(name, C) is True
        assert name not in refs


# -- many at once


def test_add_packed_refs(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    refs.add_packed_refs({OTHER: None, MAIN: B, ABSENT: C, b"refs/heads/gone": None})
    assert refs.get_packed_refs() == {MAIN: B, ABSENT: C, TAG: C}
    before = stack(repo)
    refs.add_packed_refs({})
    with pytest.raises(ValueError, match="bad"):
        refs.add_packed_refs({b"refs/heads/fine": A, b"refs/heads/worse": b"bad"})
    assert stack(repo) == before


@pytest.mark.parametrize("base", [b"refs/remotes/origin", b"refs/remotes/origin/"])
def test_import_refs(refs: dr.ReftableRefsContainer, base: bytes) -> None:
    origin = b"refs/remotes/origin"
    refs[origin + b"/old"] = refs[origin + b"/none"] = refs[b"refs/remotes/origin2/old"] = A
    refs.import_refs(base, {b"main": B, b"deep/er": C, b"none": None})
    expected = {b"main": B, b"deep/er": C, b"old": A}
    assert refs.as_dict(origin) == expected
    refs.import_refs(base, {b"main": C, b"deep/er": C}, message=b"fetch", prune=True)
    assert refs.as_dict(origin) == {b"main": C, b"deep/er": C}
    assert refs[b"refs/remotes/origin2/old"] == A
    logged = [(entry.old_sha, entry.message) for entry in refs.read_reflog(origin + b"/main")]
    assert logged == [(B, b"fetch")]


def test_batch_update(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = stack(repo)
    with refs.batch_update():
        refs[MAIN] = B
        refs[ABSENT] = C
        refs.set_symbolic_ref(TAG, MAIN)
        del refs[OTHER]
    assert len(stack(repo)) <= len(before) + 1
    assert (refs[MAIN], refs[ABSENT], refs[TAG]) == (B, C, B)
    assert OTHER not in refs


def failing_batch(refs: dr.ReftableRefsContainer) -> None:
    """Begin a batch and give up."""
    with refs.batch_update():
        refs[MAIN] = B
        raise InterruptedError


def test_failed_batch_writes_nothing(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = stack(repo)
    with pytest.raises(InterruptedError):
        failing_batch(refs)
    assert stack(repo) == before
    refs[ABSENT] = C  # and the next write is no part of it
    assert (refs[MAIN], refs[ABSENT]) == (A, C)


@pytest.mark.parametrize("every", [True, False])
def test_pack_refs(refs: dr.ReftableRefsContainer, repo: dr.Repo, every: bool) -> None:
    refs.pack_refs(all=every)
    assert dict(refs.iter_refs()) == STORED
    assert len(stack(repo)) == 1 or not every


@needs_dulwich("0.24", "there was no NamespacedRefsContainer")
def test_namespace(refs: dr.ReftableRefsContainer) -> None:
    from dulwich.refs import NamespacedRefsContainer

    inside = NamespacedRefsContainer(refs, b"ns")
    assert inside.allkeys() == {HEAD}
    assert inside.set_if_equals(MAIN, ZERO, B) is True
    assert inside.add_if_new(MAIN, C) is False
    inside.set_symbolic_ref(ALIAS, MAIN)
    assert refs[b"refs/namespaces/ns/" + MAIN] == B
    assert refs.read_ref(b"refs/namespaces/ns/" + ALIAS) == b"ref: refs/namespaces/ns/" + MAIN
    assert inside.get_packed_refs() == {MAIN: B}
    assert inside.remove_if_equals(MAIN, C) is False
    assert inside.remove_if_equals(MAIN, B) is True
    assert refs[MAIN] == A
