"""Transactions: all or nothing, in one table and under one update index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dulwich.errors import RefFormatError
from dulwich.file import FileLocked
from support.compare import shown_reflogs
from support.filesystems import names_in
from support.git import LogEntry

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import RefRecord

ZERO = b"0" * 40
A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
HEAD, MAIN, OTHER, NEW = b"HEAD", b"refs/heads/main", b"refs/heads/other", b"refs/heads/new"
ALIAS = b"refs/heads/alias"
ABOUT: dict[str, Any] = {
    "committer": b"T <t@example.com>",
    "timestamp": 1_600_000_000,
    "timezone": 5400,
}

Step = tuple[object, ...]  # the method's name, then its arguments


@pytest.fixture
def refs(refs: dr.ReftableRefsContainer) -> dr.ReftableRefsContainer:
    """Two branches, the first of them HEAD's, and a symref of the other."""
    refs[MAIN] = A
    refs[OTHER] = B
    refs.set_symbolic_ref(ALIAS, OTHER)
    return refs


def run(refs: dr.ReftableRefsContainer, steps: Iterable[Step], **about: Any) -> None:
    """Run a transaction of these steps."""
    with refs.transaction(**about) as transaction:
        for method, *arguments in steps:
            getattr(transaction, str(method))(*arguments)


def tables(repo: dr.Repo) -> tuple[str, ...]:
    """The names of the stack's tables."""
    return repo.refs.store.shared.storage.refresh(None).names


def newest_index(repo: dr.Repo) -> int:
    """The highest update index of the stack, as the last table's name tells it."""
    return int(re.split("-", tables(repo)[-1])[1], 16)


def test_all_kinds_of_changes(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = newest_index(repo)
    steps = [
        ("create", NEW, C),
        ("update", MAIN, B),
        ("delete", OTHER, B),
        ("set_symbolic_ref", ALIAS, MAIN),
        ("verify", b"refs/heads/none", ZERO),
    ]
    run(refs, steps)
    assert dict(refs.iter_refs()) == {
        HEAD: b"ref: " + MAIN,
        MAIN: B,
        NEW: C,
        ALIAS: b"ref: " + MAIN,
    }
    assert newest_index(repo) == before + 1


@pytest.mark.parametrize(
    ("step", "name", "expected", "found"),
    [
        (("create", MAIN, C), MAIN, ZERO, A),
        (("create", HEAD, C), HEAD, ZERO, A),
        (("update", MAIN, C, B), MAIN, B, A),
        (("update", MAIN, C, ZERO), MAIN, ZERO, A),
        (("update", NEW, C, B), NEW, B, ZERO),
        (("update", ALIAS, C, A), ALIAS, A, B),
        (("update", MAIN, A, B), MAIN, B, A),
        (("delete", MAIN, B), MAIN, B, A),
        (("delete", NEW, B), NEW, B, ZERO),
        (("verify", MAIN, B), MAIN, B, A),
        (("verify", MAIN, ZERO), MAIN, ZERO, A),
        (("verify", NEW, A), NEW, A, ZERO),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_one_unmet_expectation_stops_all(
    refs: dr.ReftableRefsContainer,
    repo: dr.Repo,
    step: Step,
    name: bytes,
    expected: bytes,
    found: bytes,
    first: bool,
) -> None:
    before = tables(repo)
    fine: Step = ("create", b"refs/heads/fine", C)
    with pytest.raises(dr.TransactionError) as caught:
        run(refs, [step, fine] if first else [fine, step], message=b"no", **ABOUT)
    assert tables(repo) == before
    message = str(caught.value)
    assert name.decode() in message
    for value in (expected, found):
        # "no such ref" may be said in words
        assert value.decode() in message or value == ZERO


def test_an_exception_inside_writes_nothing(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = tables(repo)

    def give_up() -> None:
        with refs.transaction() as transaction:
            transaction.update(MAIN, C)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        give_up()
    assert tables(repo) == before
    refs[MAIN] = B  # no lock is left behind
    assert refs[MAIN] == B


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [("verify", MAIN, A)],
        [("update", MAIN, A), ("update", OTHER, B, B), ("delete", NEW, ZERO)],
        [("set_symbolic_ref", ALIAS, OTHER)],
    ],
)
def test_nothing_to_change_writes_nothing(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, steps: list[Step]
) -> None:
    before = tables(repo)
    run(refs, steps)
    assert tables(repo) == before


def test_updates_follow_symrefs_and_deletions_do_not(refs: dr.ReftableRefsContainer) -> None:
    run(refs, [("update", HEAD, C, A), ("delete", ALIAS)])
    assert dict(refs.iter_refs()) == {HEAD: b"ref: " + MAIN, MAIN: C, OTHER: B}


@pytest.mark.parametrize(
    "steps",
    [
        [("update", MAIN, B), ("update", MAIN, C)],
        [("update", MAIN, B), ("delete", MAIN)],
        [("update", HEAD, B), ("update", MAIN, C)],
        [("update", ALIAS, A), ("update", OTHER, A)],
        [("update", ALIAS, A), ("delete", ALIAS)],
        [("set_symbolic_ref", HEAD, OTHER), ("update", MAIN, C)],
    ],
)
def test_a_ref_changes_once(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, steps: list[Step]
) -> None:
    """Also under two names, and HEAD's reflog can tell of one change only; git refuses these."""
    before = tables(repo)
    with pytest.raises(dr.TransactionError):
        run(refs, steps, message=b"twice")
    assert tables(repo) == before


# -- a against a/b


@pytest.mark.parametrize(
    "steps",
    [
        [("create", MAIN + b"/sub", C)],
        [("create", b"refs/heads/x", C), ("create", b"refs/heads/x/y", C)],
        [("create", b"refs/heads/x/y/z", C), ("create", b"refs/heads/x", C)],
        [("set_symbolic_ref", OTHER + b"/link", MAIN)],
        [("delete", OTHER), ("create", MAIN + b"/sub", C)],
        [("create", b"refs/some/dir", C)],
        [("create", b"refs/some/dir", C), ("delete", b"refs/some/dir/a")],
    ],
)
def test_conflicts(refs: dr.ReftableRefsContainer, repo: dr.Repo, steps: list[Step]) -> None:
    refs[b"refs/some/dir/a"] = refs[b"refs/some/dir/b/c"] = A
    before = tables(repo)
    with pytest.raises(dr.RefConflictError) as caught:
        run(refs, steps)
    assert isinstance(caught.value, OSError)  # the kind that dulwich's callers know
    assert tables(repo) == before


@pytest.mark.parametrize("deletion_first", [True, False])
@pytest.mark.parametrize(
    ("deleted", "created"),
    [
        ([MAIN], [MAIN + b"/sub", MAIN + b"/sub2/sub"]),
        ([b"refs/some/dir/a", b"refs/some/dir/b/c"], [b"refs/some/dir/b"]),
        ([b"refs/some/dir/b/c"], [b"refs/some/dir/b", b"refs/some/dir/c/d"]),
    ],
)
def test_no_conflict_with_what_goes_too(
    refs: dr.ReftableRefsContainer,
    deleted: list[bytes],
    created: list[bytes],
    deletion_first: bool,
) -> None:
    refs[b"refs/some/dir/a"] = refs[b"refs/some/dir/b/c"] = A
    expected = dict(refs.iter_refs())
    deletions: list[Step] = [("delete", name) for name in deleted]
    creations: list[Step] = [("create", name, C) for name in created]
    run(refs, deletions + creations if deletion_first else creations + deletions)
    for name in deleted:
        del expected[name]
    assert dict(refs.iter_refs()) == {**expected, **dict.fromkeys(created, C)}


# -- illegal names, and conflicts


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (("create", b"refs/heads/a..b", A), RefFormatError),
        (("update", b"outside", A), RefFormatError),
        (("delete", b"refs/heads/"), RefFormatError),
        (("set_symbolic_ref", ALIAS, b"refs/heads/x.lock"), RefFormatError),
        (("set_symbolic_ref", b"../HEAD", MAIN), RefFormatError),
        (("create", NEW, b"short"), ValueError),
        (("update", MAIN, b"b" * 64), ValueError),
    ],
)
def test_illegal_arguments(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, step: Step, kind: type[Exception]
) -> None:
    before = tables(repo)
    with pytest.raises(kind):
        run(refs, [("create", NEW, C), step])
    assert tables(repo) == before


def test_kinds_of_errors() -> None:
    """One family, whose members dulwich's own code can handle, too."""
    for kind in (dr.CorruptTableError, dr.LockError, dr.TransactionError, dr.RefConflictError):
        assert issubclass(kind, dr.ReftableError)
    assert issubclass(dr.RefConflictError, OSError)


ILLEGAL_TARGETS = [
    b"refs/heads/a..b",
    b"refs/heads/x.lock",
    b"../../config",
    b"worktrees/../HEAD",
    b"main-worktree/refs/heads/x",
    b"config",
    b" ",
]


@pytest.mark.parametrize("target", ILLEGAL_TARGETS)
@pytest.mark.parametrize("through_another", [False, True])
def test_an_illegal_target_is_not_written_to(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, target: bytes, through_another: bool
) -> None:
    """Whoever made the symref by other means; git refuses to follow it, too."""
    bad = b"refs/heads/bad"
    refs.set_symbolic_ref(ALIAS, bad if through_another else MAIN)
    with refs.store.shared.addition() as addition:
        index = addition.next_update_index
        addition.write([RefRecord(bad if through_another else ALIAS, index, target=target)], [])
        addition.commit()
    before, shown = tables(repo), refs.get_symrefs()
    base, name = ALIAS.rsplit(b"/", 1)

    def in_a_batch() -> None:
        with refs.batch_update():
            refs[ALIAS] = C

    for write in (
        lambda: refs.__setitem__(ALIAS, C),
        lambda: refs.set_if_equals(ALIAS, None, C),
        lambda: refs.set_if_equals(ALIAS, ZERO, C, message=b"m", **ABOUT),
        lambda: refs.add_if_new(ALIAS, C),
        lambda: refs.import_refs(base, {name: C}),
        lambda: run(refs, [("create", NEW, C), ("update", ALIAS, C)]),
        lambda: run(refs, [("create", ALIAS, C)]),
        in_a_batch,
    ):
        with pytest.raises(RefFormatError):
            write()
    assert tables(repo) == before
    assert refs.get_symrefs() == shown
    refs.add_packed_refs({ALIAS: C})  # this one does not follow
    assert refs[ALIAS] == C


def test_deletions_do_not_follow(refs: dr.ReftableRefsContainer) -> None:
    """Not even those of an import; the branch that the symref leads to stays."""
    refs.import_refs(b"refs/heads", {b"alias": None})
    assert (ALIAS in refs, refs[OTHER]) == (False, B)
    refs.set_symbolic_ref(ALIAS, OTHER)
    refs.add_packed_refs({ALIAS: None})
    assert (ALIAS in refs, refs[OTHER]) == (False, B)
    refs.set_symbolic_ref(ALIAS, OTHER)
    refs.import_refs(b"refs/heads", {b"main": A, b"other": B}, prune=True)
    assert (ALIAS in refs, refs[OTHER]) == (False, B)


def writes(refs: dr.ReftableRefsContainer) -> list[Callable[[], object]]:
    """Ways of writing, each of which needs the lock."""
    return [
        lambda: refs.__setitem__(MAIN, C),
        lambda: refs.set_if_equals(MAIN, A, C),
        lambda: refs.add_if_new(NEW, C),
        lambda: refs.remove_if_equals(MAIN, A),
        lambda: refs.set_symbolic_ref(NEW, MAIN),
        lambda: run(refs, [("update", MAIN, C)]),
        lambda: refs.rename(OTHER, b"refs/heads/renamed"),
    ]


@pytest.mark.directory
def test_a_taken_lock(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    """Writers give up after the timeout, and never break the lock; readers go on."""
    lock = Path(repo.commondir()) / "reftable" / "tables.list.lock"
    before = tables(repo)
    lock.touch()
    for write in writes(refs):
        with pytest.raises(dr.LockError) as caught:
            write()
        assert isinstance(caught.value, FileLocked)
    assert refs[MAIN] == A
    assert tables(repo) == before
    assert lock.exists()
    lock.unlink()
    for write in writes(refs):
        write()
    assert NEW in refs


# -- the reflog


def test_logs_of_a_transaction(refs: dr.ReftableRefsContainer) -> None:
    steps = [("create", NEW, C), ("update", ALIAS, C), ("update", MAIN, B)]
    run(refs, steps, message=b"step\n one", **ABOUT)

    def entry(old: bytes, new: bytes) -> list[LogEntry]:
        return [LogEntry(old, new, b"T <t@example.com>", 1_600_000_000, 5400, b"step one")]

    expected = {
        HEAD: entry(A, B),  # since MAIN is its branch
        ALIAS: entry(B, C),  # since it was named
        MAIN: entry(A, B),
        NEW: entry(ZERO, C),
        OTHER: entry(B, C),  # since ALIAS leads there
    }
    assert shown_reflogs(refs) == expected
    run(refs, [("delete", MAIN), ("delete", NEW)], message=b"gone", **ABOUT)
    assert [entry.message for entry in refs.read_reflog(HEAD)] == [b"step one", b"gone"]
    assert list(refs.reflogs()) == [HEAD, ALIAS, OTHER]


def test_no_message_no_log(refs: dr.ReftableRefsContainer) -> None:
    run(refs, [("update", MAIN, B), ("create", NEW, C), ("set_symbolic_ref", ALIAS, MAIN)])
    assert shown_reflogs(refs) == {}


# -- prepare


def locks(repo: dr.Repo) -> list[str]:
    """The lock files of the stack, but for those of tables that are about to be merged."""
    found = (Path(repo.commondir()) / "reftable").glob("*.lock")
    return [path.name for path in found if not path.name.endswith(".ref.lock")]


@pytest.mark.directory
def test_prepare_then_commit(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    """Between the two the locks are held and the tables are there, but nobody sees them."""
    before, shown = tables(repo), dict(refs.iter_refs())
    index = newest_index(repo)
    transaction = refs.transaction(message=b"two steps", **ABOUT)
    transaction.update(MAIN, B, A)
    transaction.delete(OTHER)
    transaction.prepare()
    assert locks(repo) == ["tables.list.lock"]
    assert tables(repo) == before
    assert dict(refs.iter_refs()) == shown
    assert list(refs.reflogs()) == []
    with pytest.raises(dr.LockError):
        refs[NEW] = C
    transaction.commit()
    assert locks(repo) == []
    assert refs[MAIN] == B
    assert OTHER not in refs
    assert newest_index(repo) == index + 1
    assert [entry.message for entry in refs.read_reflog(MAIN)] == [b"two steps"]
    refs[NEW] = C


@pytest.mark.directory
@pytest.mark.parametrize("how", ["abort", "exception", "dropped"])
def test_prepare_then_abort(refs: dr.ReftableRefsContainer, repo: dr.Repo, how: str) -> None:
    before = names_in(Path(repo.commondir()) / "reftable")

    def prepare() -> None:
        transaction = refs.transaction()
        transaction.update(MAIN, B)
        if how == "exception":
            with suppress(InterruptedError), transaction:
                transaction.prepare()
                raise InterruptedError
            return
        transaction.prepare()
        if how == "abort":
            transaction.abort()

    prepare()
    assert refs[MAIN] == A
    if how != "dropped":  # then the table is left for a clean-up, as after a crash
        found = names_in(Path(repo.commondir()) / "reftable")
        assert found == before
    refs[MAIN] = C  # no lock is left behind
    assert refs[MAIN] == C


def test_a_prepared_transaction_in_a_context(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    with refs.transaction() as transaction:
        transaction.update(MAIN, B)
        transaction.prepare()
        assert refs[MAIN] == A
    assert refs[MAIN] == B
    assert locks(repo) == []


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (("update", MAIN, C, B), dr.TransactionError),
        (("create", OTHER, C), dr.TransactionError),
        (("verify", MAIN, B), dr.TransactionError),
        (("create", MAIN + b"/sub", C), dr.RefConflictError),
        (("create", b"refs/heads/" + b"n" * 4053, C), dr.RecordError),  # by two bytes
    ],
)
def test_what_prepare_refuses(
    refs: dr.ReftableRefsContainer, repo: dr.Repo, step: Step, kind: type[Exception]
) -> None:
    """The errors are those of a commit; after one, the transaction is over and nothing is held."""
    before = tables(repo)
    transaction = refs.transaction()
    transaction.create(NEW, C)
    getattr(transaction, str(step[0]))(*step[1:])
    with pytest.raises(kind):
        transaction.prepare()
    assert locks(repo) == []
    assert tables(repo) == before
    for method in (transaction.prepare, transaction.commit):
        with pytest.raises(dr.ReftableError, match="over"):
            method()
    transaction.abort()


@pytest.mark.parametrize(
    "step",
    [
        ("create", b"refs/heads/" + b"n" * 5000, C),
        ("set_symbolic_ref", NEW, b"refs/heads/" + b"n" * 5000),
        ("create", b"refs" + b"/n" * 30_000, C),
    ],
)
def test_what_no_block_can_hold_is_refused_at_once(
    refs: dr.ReftableRefsContainer, step: Step
) -> None:
    transaction = refs.transaction()
    with pytest.raises(dr.RecordError, match=" bytes"):
        getattr(transaction, str(step[0]))(*step[1:])
    transaction.update(MAIN, B)
    transaction.delete(b"refs/heads/" + b"n" * 5000)  # of this there is none
    transaction.commit()
    assert refs[MAIN] == B


def test_prepared_transactions_can_only_be_closed(refs: dr.ReftableRefsContainer) -> None:
    transaction = refs.transaction()
    transaction.update(MAIN, B)
    transaction.prepare()
    with pytest.raises(dr.ReftableError, match="prepared"):
        transaction.update(OTHER, B)
    with pytest.raises(dr.ReftableError, match="prepared"):
        transaction.prepare()
    transaction.commit()
    for method in (transaction.prepare, transaction.commit, lambda: transaction.update(OTHER, B)):
        with pytest.raises(dr.ReftableError, match="over"):
            method()
    assert dict(refs.iter_refs())[MAIN] == B


def test_nothing_to_prepare(refs: dr.ReftableRefsContainer, repo: dr.Repo) -> None:
    before = tables(repo)
    transaction = refs.transaction()
    transaction.prepare()
    assert locks(repo) == []
    transaction.commit()
    assert tables(repo) == before


@pytest.mark.parametrize(
    ("old", "fits"), [(A, True), (B, False), (ZERO, False), (b"ref: " + MAIN, True), (None, True)]
)
def test_an_old_id_of_a_symref_that_is_not_followed(
    refs: dr.ReftableRefsContainer, old: bytes | None, fits: bool
) -> None:
    """Asked for, it is held against what the symref leads to, as by git update-ref --no-deref."""
    transaction = refs.transaction()
    transaction.add_update(HEAD, B, old=old, follow=False, old_is_resolved=True)
    if fits:
        transaction.commit()
        assert refs.read_ref(HEAD) == B
    else:
        with pytest.raises(dr.TransactionError):
            transaction.commit()
        assert refs.read_ref(HEAD) == b"ref: " + MAIN


def test_who_starts_a_reflog(refs: dr.ReftableRefsContainer) -> None:
    refs.create_reflog(OTHER)
    about = refs.transaction(message=b"m", **ABOUT)._signature
    transaction = dr.Transaction(
        refs.store, about, starts_reflog=lambda name: name.startswith(b"refs/tags/")
    )
    transaction.update(MAIN, B)
    transaction.update(OTHER, A)
    transaction.create(b"refs/tags/t", A)
    transaction.commit()
    assert list(refs.reflogs()) == [OTHER, b"refs/tags/t"]
