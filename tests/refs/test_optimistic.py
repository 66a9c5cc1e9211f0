"""Refs in a storage without locks: no directory, and others may write at any time."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from dulwich.file import FileLocked
from support.memory_refs import refs_on
from support.memory_storage import Faults, Place

import dulwich_reftable as dr

ZERO = b"0" * 40
A, B, C, D = (digit * 40 for digit in (b"a", b"b", b"c", b"d"))
HEAD, MAIN, OTHER, NEW = b"HEAD", b"refs/heads/main", b"refs/heads/other", b"refs/heads/new"
ABOUT: dict[str, Any] = {"committer": b"N <e>", "timestamp": 1_600_000_000, "timezone": 0}
SINCE = "it has changed since the update was prepared"


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def refs(place: Place) -> dr.ReftableRefsContainer:
    """Two branches, the first of them HEAD's."""
    refs = refs_on(place)
    refs.set_symbolic_ref(HEAD, MAIN)
    refs[MAIN] = A
    refs[OTHER] = B
    return refs


def once(call: Callable[[], object]) -> Callable[[], None]:
    """Call a function the first time only."""
    calls = [call]

    def act() -> None:
        if calls:
            calls.pop()()

    return act


def test_all_there_is_without_a_directory(place: Place, refs: dr.ReftableRefsContainer) -> None:
    with refs.transaction(message=b"both", **ABOUT) as tx:
        tx.update(MAIN, C, A)
        tx.create(NEW, D)
    with refs.batch_update():
        refs[b"refs/tags/v1"] = A
        refs[b"refs/tags/v2"] = B
        assert refs[b"refs/tags/v1"] == A
    refs.rename(OTHER, b"refs/heads/renamed", message=b"mv", **ABOUT)
    refs.copy(NEW, b"refs/heads/copy")
    refs.append_reflog(NEW, D, A, b"said", **ABOUT)
    refs.drop_reflog_entry(NEW, 1, rewrite=True)
    assert refs.expire_reflog(MAIN, expire_time=1_700_000_000) == 1
    refs.create_reflog(b"refs/tags/v1")
    refs.delete_reflog(b"refs/heads/copy")
    snapshot = refs.snapshot()
    refs.pack_refs()
    refs.auto_compact()
    assert snapshot.as_dict() == refs.as_dict()
    place.catch_up()
    assert refs.verify() == []
    assert len(place.head.names) == 1
    other = refs_on(place)
    assert dict(other.iter_refs()) == {
        HEAD: b"ref: " + MAIN,
        MAIN: C,
        NEW: D,
        b"refs/heads/renamed": B,
        b"refs/heads/copy": D,
        b"refs/tags/v1": A,
        b"refs/tags/v2": B,
    }
    assert [entry.message for entry in other.read_reflog(NEW)] == [b"said"]
    assert set(other.refs_for_object(A)) == {b"refs/tags/v1"}
    assert set(other.reflogs()) == {HEAD, MAIN, NEW, b"refs/tags/v1", b"refs/heads/renamed"}
    assert refs.read_ref(b"FETCH_HEAD") is None
    assert refs.path == refs.worktree_path == b"memory://stack"
    assert refs.read_ref(b"main-worktree/HEAD") == b"ref: " + MAIN
    with pytest.raises(dr.StorageError, match="no such worktree"):
        refs.set_if_equals(b"worktrees/x/HEAD", None, A)
    refs.close()


def test_verify_tells_what_is_unlisted(place: Place, refs: dr.ReftableRefsContainer) -> None:
    place.tables["0x000000000009-0x000000000009-00000000.ref"] = b""
    (finding,) = refs.verify()
    assert "is not listed" in str(finding)
    place.tables.pop(place.head.names[0])
    assert any("is listed, but missing" in str(finding) for finding in refs.verify())


@pytest.mark.parametrize("with_prepare", [False, True])
def test_commit_on_what_others_wrote(
    place: Place, refs: dr.ReftableRefsContainer, with_prepare: bool
) -> None:
    theirs = refs_on(place)
    tx = refs.transaction(message=b"ours", **ABOUT)
    tx.update(MAIN, C, A)
    write = once(lambda: theirs.set_if_equals(OTHER, B, D, message=b"theirs", **ABOUT))
    if with_prepare:
        tx.prepare()
        write()
    else:
        place.before_swap = write
    tx.commit()
    assert (refs[MAIN], refs[OTHER]) == (C, D)
    (ours,) = refs.store.shared.snapshot().logs_of(MAIN)
    (other,) = refs.store.shared.snapshot().logs_of(OTHER)
    assert ours.update_index > other.update_index


CHANGES: dict[str, Callable[[dr.ReftableRefsContainer], object]] = {
    "value": lambda theirs: theirs.set_if_equals(MAIN, A, D),
    "deleted": lambda theirs: theirs.remove_if_equals(MAIN, A),
    "symref": lambda theirs: theirs.set_symbolic_ref(MAIN, OTHER),
}


@pytest.mark.parametrize("with_prepare", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_expectation_that_others_break(
    place: Place, refs: dr.ReftableRefsContainer, change: str, with_prepare: bool
) -> None:
    theirs = refs_on(place)
    tx = refs.transaction()
    tx.update(MAIN, C, A)
    tx.create(NEW, C)
    write = once(lambda: CHANGES[change](theirs))
    if with_prepare:
        tx.prepare()
        write()
    else:
        place.before_swap = write
    with pytest.raises(dr.TransactionError) as caught:
        tx.commit()
    assert (SINCE in str(caught.value)) is with_prepare
    assert caught.value.expected == A
    assert caught.value.actual == {"value": D, "deleted": None, "symref": B}[change]
    assert NEW not in theirs
    place.catch_up()
    assert place.tables.keys() >= set(place.head.names)
    assert refs.verify() == []


def test_conflict_that_others_make(place: Place, refs: dr.ReftableRefsContainer) -> None:
    tx = refs.transaction()
    tx.create(NEW, C)
    tx.prepare()
    refs_on(place)[NEW + b"/below"] = D
    with pytest.raises(dr.RefConflictError, match=SINCE) as caught:
        tx.commit()
    assert caught.value.other == NEW + b"/below"
    assert NEW not in refs


def test_left_out_at_the_commit(place: Place, refs: dr.ReftableRefsContainer) -> None:
    """What was left out at first stays out, even if it has become possible."""
    theirs = refs_on(place)
    tx = dr.Transaction(refs.store, allow_failure=True)
    tx.update(MAIN, C, A)
    tx.update(OTHER, C, A)
    tx.create(NEW, C)
    tx.prepare()
    assert tx.rejected.keys() == {OTHER}
    theirs[OTHER] = A
    theirs[MAIN] = D
    tx.commit()
    assert tx.rejected.keys() == {OTHER, MAIN}
    assert (refs[MAIN], refs[OTHER], refs[NEW]) == (D, A, C)


def test_all_or_nothing_after_failures_were_allowed(
    place: Place, refs: dr.ReftableRefsContainer
) -> None:
    tx = dr.Transaction(refs.store, allow_failure=True)
    tx.update(MAIN, C, A)
    tx.create(NEW, C)
    tx.prepare()
    refs_on(place)[MAIN] = D
    tx.allow_failure = False
    with pytest.raises(dr.TransactionError):
        tx.commit()
    assert NEW not in refs


def test_abort_after_prepare(place: Place, refs: dr.ReftableRefsContainer) -> None:
    tx = refs.transaction()
    tx.update(MAIN, C, A)
    tx.prepare()
    tx.abort()
    assert refs[MAIN] == A
    refs[MAIN] = D
    assert refs_on(place)[MAIN] == D


def test_batch_on_what_others_wrote(place: Place, refs: dr.ReftableRefsContainer) -> None:
    theirs = refs_on(place)
    place.before_swap = once(lambda: theirs.set_if_equals(OTHER, B, D))
    with refs.batch_update():
        assert refs.set_if_equals(MAIN, A, C)
        refs[NEW] = D
    assert (refs[MAIN], refs[OTHER], refs[NEW]) == (C, D, D)
    place.before_swap = once(lambda: theirs.set_if_equals(MAIN, C, A))

    def batch() -> None:
        with refs.batch_update():
            assert refs.set_if_equals(MAIN, C, D)
            refs[NEW] = A

    with pytest.raises(dr.TransactionError):
        batch()
    assert (refs[MAIN], refs[NEW]) == (A, D)


def test_lists_that_differ_by_their_token_only(
    place: Place, refs: dr.ReftableRefsContainer
) -> None:
    place.before_swap = once(refs_on(place).clean)
    with refs.batch_update():
        refs[MAIN] = C
        refs[NEW] = D
    assert (refs[MAIN], refs[NEW]) == (C, D)


@pytest.mark.parametrize("keep", [False, True])
def test_rename_on_what_others_wrote(
    place: Place, refs: dr.ReftableRefsContainer, keep: bool
) -> None:
    theirs = refs_on(place)
    place.before_swap = once(lambda: theirs.set_if_equals(OTHER, B, D, message=b"d", **ABOUT))
    (refs.copy if keep else refs.rename)(OTHER, NEW, message=b"moved", **ABOUT)
    assert refs[NEW] == D
    messages = [entry.message for entry in refs.read_reflog(NEW)]
    assert messages == [b"d", b"moved"] if keep else [b"d", b"moved", b"moved"]
    place.before_swap = once(lambda: theirs.remove_if_equals(NEW, None))
    with pytest.raises(dr.TransactionError, match="no such ref"):
        refs.rename(NEW, b"refs/heads/next")


def test_reflog_on_what_others_wrote(place: Place, refs: dr.ReftableRefsContainer) -> None:
    """Each change of a reflog sees the entries that others have added meanwhile."""
    theirs = refs_on(place)

    def meanwhile(message: bytes) -> None:
        place.before_swap = once(lambda: theirs.append_reflog(MAIN, A, B, message, **ABOUT))

    refs.append_reflog(MAIN, A, B, b"0", **ABOUT)
    meanwhile(b"1")
    refs.append_reflog(MAIN, A, B, b"2", **ABOUT)
    assert [entry.message for entry in refs.read_reflog(MAIN)] == [b"0", b"1", b"2"]
    meanwhile(b"3")
    refs.drop_reflog_entry(MAIN, 0)  # the newest
    assert [entry.message for entry in refs.read_reflog(MAIN)] == [b"0", b"1", b"2"]
    meanwhile(b"4")
    assert refs.expire_reflog(MAIN, expire_time=1_700_000_000) == 3
    assert [entry.message for entry in refs.read_reflog(MAIN)] == [b"4"]
    meanwhile(b"5")
    refs.delete_reflog(MAIN)
    assert not refs.reflog_exists(MAIN)


def test_others_are_faster_all_the_time(place: Place, refs: dr.ReftableRefsContainer) -> None:
    """dulwich knows the error."""
    impatient = refs_on(place, lock_timeout=0)
    theirs = refs_on(place)
    values = [D, C]

    def write() -> None:
        place.before_swap = lambda: None
        theirs.set_if_equals(OTHER, None, values[0])
        values.reverse()
        place.before_swap = write

    place.before_swap = write
    with pytest.raises(FileLocked) as caught:
        impatient[MAIN] = C
    assert isinstance(caught.value, dr.LockError)
    assert "faster" in str(caught.value)


@pytest.mark.parametrize("kind", ["lost", "never", "later"])
def test_unknown_outcome(place: Place, refs: dr.ReftableRefsContainer, kind: str) -> None:
    setattr(place.faults, kind, 1.0)
    with pytest.raises(dr.OutcomeUnknownError) as caught:
        refs.set_if_equals(MAIN, A, C, message=b"m", **ABOUT)
    assert isinstance(caught.value, dr.StorageError)
    setattr(place.faults, kind, 0.0)
    place.catch_up()
    assert refs[MAIN] == (A if kind == "never" else C)
    assert refs.verify() == []


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled(seed: int) -> None:
    """Processes that update refs by compare-and-swap; two of them have two threads."""
    place = Place(Faults(random.Random(seed), stale=0.1, lost=0.03, never=0.03, later=0.03))
    done: list[bytes] = []
    doubtful: list[bytes] = []

    def run(refs: dr.ReftableRefsContainer, number: int) -> None:
        chance = random.Random(seed * 100 + number)
        for turn in range(12):
            who = b"%d-%d" % (number, turn)
            name = b"refs/heads/n%d" % chance.randrange(2)
            tx = refs.transaction(message=who, **ABOUT)
            before = refs.read_ref(name) or ZERO
            tx.update(name, b"%040x" % (int(before, 16) + 1), before)
            try:
                if chance.random() < 0.3:
                    tx.prepare()
                tx.commit()
                done.append(who)
            except dr.TransactionError:
                pass
            except dr.OutcomeUnknownError:
                doubtful.append(who)

    processes = [refs_on(place, lock_timeout=30.0) for _ in range(3)]
    threads = [
        threading.Thread(target=run, args=(processes[number % 3], number)) for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.faults = Faults(random.Random(seed))
    place.catch_up()
    assert done
    refs = refs_on(place)
    # Where an outcome is unknown, a table may stay that no list names; a sweep takes it later.
    faults = [finding for finding in refs.verify() if finding.severity != "info"]
    assert [finding for finding in faults if finding.check != "head"] == []
    entries = {name: list(refs.read_reflog(name)) for name in refs.reflogs()}
    found = Counter(entry.message for logged in entries.values() for entry in logged)
    assert set(done) <= found.keys() <= {*done, *doubtful}
    assert set(found.values()) == {1}
    for name, logged in entries.items():
        assert [int(entry.new_sha, 16) for entry in logged] == [*range(1, len(logged) + 1)]
        assert int(refs[name], 16) == len(logged)
