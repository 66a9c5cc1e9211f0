"""A batch leaves what its calls would leave one after another, in one table, or nothing at all."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dulwich.refs import SymrefLoop
from support.compare import shown_reflogs
from support.memory_refs import another

import dulwich_reftable as dr

A, B, C = (digit * 40 for digit in (b"a", b"b", b"c"))
ZERO = b"0" * 40
HEAD, MAIN = b"HEAD", b"refs/heads/main"
ONE, TWO, BELOW, LINK = (b"refs/heads/" + name for name in (b"one", b"two", b"one/below", b"link"))
NAMES = [HEAD, MAIN, ONE, TWO, BELOW, LINK, b"refs/remotes/o/x", b"refs/remotes/o/y"]
VALUES = [A, B, C]
ROUNDS = int(os.environ.get("DULWICH_REFTABLE_ROUNDS", "50"))

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def random_call(rng: random.Random, clock: Iterator[int]) -> Call:
    """Draw a call of any method that writes, or reads."""
    about = {"committer": b"T <t@example.com>", "timestamp": next(clock), "timezone": 0}
    if rng.random() < 0.7:
        about["message"] = b"message"
    name = rng.choice(NAMES)
    old = rng.choice([None, ZERO, *VALUES])
    value = rng.choice(VALUES)
    match rng.randrange(12):
        case 0 | 1:
            return "set_if_equals", (name, old, value), about
        case 2:
            return "set_if_equals", (name, None, value), about
        case 3:
            return "add_if_new", (name, value), about
        case 4 | 5:
            return "remove_if_equals", (name, rng.choice([None, old])), about
        case 6 | 7:
            return "set_symbolic_ref", (rng.choice([HEAD, LINK, TWO]), rng.choice(NAMES)), about
        case 8:
            given = {b"x": rng.choice([None, value]), b"y": value, b"z": None}
            del given[rng.choice(list(given))]
            base = rng.choice([b"refs/remotes/o", b"refs/heads"])
            return "import_refs", (base, given), {**about, "prune": rng.random() < 0.3}
        case 9:
            return "add_packed_refs", ({name: rng.choice([None, value])},), {}
        case 10:
            return "read_ref", (name,), {}
        case _:
            return rng.choice(["as_dict", "allkeys", "get_symrefs"]), (), {}


def outcome(refs: dr.ReftableRefsContainer, call: Call) -> object:
    """Make a call; give what it answers, or the kind of its error."""
    method, args, kwargs = call
    try:
        return getattr(refs, method)(*args, **kwargs)
    except (dr.ReftableError, ValueError, SymrefLoop) as error:
        return type(error)


def tables(refs: dr.ReftableRefsContainer) -> list[str]:
    return list(refs.store.shared.storage.refresh(None).names)


def make(path: Path) -> dr.ReftableRefsContainer:
    """Make refs of their own, which stay as many tables as there are updates."""
    with dr.Repo.init_bare(path, mkdir=True, default_branch=b"main") as repo:
        config = repo.get_config()
        config.set((b"core",), b"fsync", b"none")
        config.set((b"core",), b"logAllRefUpdates", b"always")
        config.write_to_path()
    return dr.ReftableRefsContainer(path)


def state(refs: dr.ReftableRefsContainer) -> tuple[object, object]:
    return dict(refs.iter_refs()), shown_reflogs(refs)


def clear(*containers: dr.ReftableRefsContainer) -> None:
    """Delete all refs and reflogs but HEAD."""
    for refs in containers:
        with refs.transaction() as transaction:
            for name, _ in refs.iter_refs():
                transaction.delete(name)
        for name in list(refs.reflogs()):
            refs.delete_reflog(name)
        refs.set_symbolic_ref(HEAD, MAIN)


def test_random_batches(tmp_path: Path) -> None:
    """All answers are the same, those of reads in between too, and so is what is left."""
    alone, batched = make(tmp_path / "alone"), make(tmp_path / "batched")
    for seed in range(ROUNDS):
        rng, clock = random.Random(seed), count(1_600_000_000)
        if seed % 10 == 0:
            clear(alone, batched)
        calls = [random_call(rng, clock) for _ in range(rng.randrange(1, 12))]
        answers = [outcome(alone, call) for call in calls]
        before = len(tables(batched))
        with batched.batch_update():
            for call, answer in zip(calls, answers, strict=True):
                assert outcome(batched, call) == answer, (seed, calls, call)
            assert state(batched) == state(alone), (seed, calls)
        assert state(batched) == state(alone), (seed, calls)
        assert len(tables(batched)) <= before + 1
    assert {finding.check for finding in batched.verify()} <= {"head", "symref"}
    for refs in (alone, batched):
        refs.close()


def test_random_batches_that_are_dropped(tmp_path: Path) -> None:
    refs = make(tmp_path / "refs")

    def fill_and_fail(rng: random.Random) -> None:
        clock = count(1_600_000_000)
        with refs.batch_update():
            for _ in range(8):
                outcome(refs, random_call(rng, clock))
            raise InterruptedError

    for seed in range(20):
        rng, clock = random.Random(seed), count(1_600_000_000)
        outcome(refs, random_call(rng, clock))
        before, stack = state(refs), tables(refs)
        with pytest.raises(InterruptedError):
            fill_and_fail(rng)
        assert (state(refs), tables(refs)) == (before, stack)
    refs.close()


def test_a_symref_made_in_the_batch_is_followed(refs: dr.ReftableRefsContainer) -> None:
    with refs.batch_update():
        refs[ONE] = A
        refs.set_symbolic_ref(LINK, ONE)
        assert refs.set_if_equals(LINK, A, B)
        del refs[ONE]
        assert refs.follow(LINK) == ([LINK, ONE], None)
        refs[LINK] = C
    assert dict(refs.iter_refs()) == {HEAD: b"ref: " + MAIN, ONE: C, LINK: b"ref: " + ONE}


def test_nobody_else_sees_a_batch_before_its_end(refs: dr.ReftableRefsContainer) -> None:
    other = another(refs)
    with refs.batch_update():
        refs[MAIN] = A
        assert refs[MAIN] == refs[HEAD] == A
        assert MAIN not in other
        assert MAIN not in refs.snapshot()
    assert other[MAIN] == A
    other.close()


# -- while somebody else writes


def lose(refs: dr.ReftableRefsContainer, other: dr.ReftableRefsContainer, name: bytes) -> None:
    """Update a ref of which much is expected, while somebody else updates one."""
    with refs.batch_update():
        assert refs.set_if_equals(ONE, A, B)
        assert refs.set_if_equals(ONE, B, C)
        refs[TWO] = A
        other[name] = b"d" * 40


def test_no_expectation_is_forgotten(refs: dr.ReftableRefsContainer) -> None:
    """What the first of two updates of a ref expects is checked at the end, as is the second."""
    refs[ONE] = A
    other = another(refs)
    with pytest.raises(dr.TransactionError) as caught:
        lose(refs, other, ONE)
    assert (caught.value.ref, caught.value.expected) == (ONE, A)
    assert (refs[ONE], TWO in refs) == (b"d" * 40, False)
    refs[ONE] = A
    lose(refs, other, MAIN)
    assert (refs[ONE], refs[TWO], refs[MAIN]) == (C, A, b"d" * 40)
    other.close()


def test_what_others_have_done_is_built_on(refs: dr.ReftableRefsContainer) -> None:
    """Without an expectation the old value in the reflog is the one that was there at the end."""
    about: dict[str, Any] = {"message": b"m", "committer": b"T <t@example.com>"}
    other = another(refs)
    with refs.batch_update():
        refs.set_if_equals(ONE, None, B, **about)
        other[ONE] = A
    (entry,) = refs.read_reflog(ONE)
    assert (entry.old_sha, entry.new_sha) == (A, B)
    other.close()


def collide(refs: dr.ReftableRefsContainer, other: dr.ReftableRefsContainer) -> None:
    with refs.batch_update():
        refs[ONE] = A
        other[BELOW] = B


def test_somebody_else_creates_what_is_in_the_way(refs: dr.ReftableRefsContainer) -> None:
    other = another(refs)
    with pytest.raises(dr.RefConflictError):
        collide(refs, other)
    assert refs.allkeys() == {HEAD, BELOW}
    other.close()


def test_the_logger_is_told_at_the_end(repo: dr.Repo) -> None:
    told: list[tuple[object, ...]] = []
    refs = dr.ReftableRefsContainer(repo.commondir(), lambda *args: told.append(args[:3]))
    with refs.batch_update():
        refs.set_if_equals(ONE, None, A, message=b"one")
        refs.set_if_equals(ONE, A, B, message=b"two")
        assert told == []
    assert told == [(ONE, ZERO, A), (ONE, A, B)]
    refs.close()


def test_renaming_is_no_part_of_a_batch(refs: dr.ReftableRefsContainer) -> None:
    refs[ONE] = A
    with refs.batch_update():
        refs[TWO] = A
        with pytest.raises(dr.ReftableError):
            refs.rename(ONE, MAIN)
    assert refs.subkeys(b"refs/heads") == {b"one", b"two"}


def test_a_transaction_is_a_part_of_the_batch(refs: dr.ReftableRefsContainer) -> None:
    with refs.batch_update():
        refs[ONE] = A
        with refs.transaction() as transaction:
            transaction.update(ONE, B, A)
            transaction.create(TWO, A)
        transaction = refs.transaction()
        transaction.delete(ONE)
        transaction.prepare()
        transaction.abort()
        with pytest.raises(dr.TransactionError), refs.transaction() as transaction:
            transaction.create(TWO, B)
        assert refs[ONE] == B
    assert (refs[ONE], refs[TWO]) == (B, A)
