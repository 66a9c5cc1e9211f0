"""Transactions that leave out the updates that are not possible, against a plain model."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dulwich_reftable as dr
from dulwich_reftable.engine.errors import RefConflictError, TransactionError
from dulwich_reftable.refs.signature import Signature
from dulwich_reftable.refs.transaction import Transaction

IDS = [b"%040x" % number for number in range(1, 4)]
ZERO = b"0" * 40
NAMES = [
    b"refs/heads/" + name
    for name in (b"a", b"a/b", b"a/b/c", b"a/d", b"ab", b"b", b"b/c", b"c/d", b"c/d/e", b"c/f")
]


def collide(one: bytes, other: bytes) -> bool:
    return one.startswith(other + b"/") or other.startswith(one + b"/")


class Model:
    """What is possible, and what comes of it."""

    def __init__(self, refs: dict[bytes, bytes], updates: list[tuple[bytes, bytes, bytes]]) -> None:
        self.refs = dict(refs)
        self.rejected: dict[bytes, type[dr.ReftableError]] = {}
        met = []
        for name, new, old in updates:
            if refs.get(name, ZERO) == old:
                met.append((name, new))
            else:
                self.rejected[name] = TransactionError
        for name, new in met:
            if new == ZERO:
                self.refs.pop(name, None)
        standing = set(self.refs)
        created: list[bytes] = []
        for name, new in met:
            if new == ZERO:
                continue
            if name not in refs:
                if any(collide(name, other) for other in standing):
                    self.rejected[name] = RefConflictError
                    continue
                created.append(name)
        for name in created:
            if any(collide(name, other) for other in set(self.refs) - standing):
                self.rejected[name] = RefConflictError
            else:
                self.refs[name] = dict(met)[name]
        for name, new in met:
            if new != ZERO and name in refs:
                self.refs[name] = new


def refs_of(refs: dr.ReftableRefsContainer) -> dict[bytes, bytes]:
    return {bytes(name): value for name, value in refs.iter_refs(b"refs/")}


@pytest.mark.parametrize("seed", range(6))
def test_random_updates(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    with dr.Repo.init_bare(tmp_path / "r.git", mkdir=True) as repo:
        refs = repo.refs
        assert isinstance(refs, dr.ReftableRefsContainer)
        for _ in range(25):
            before = refs_of(refs)
            updates = []
            for name in draw.sample(NAMES, draw.randint(1, 6)):
                old = before.get(name, ZERO) if draw.random() < 0.8 else draw.choice([ZERO, *IDS])
                updates.append((name, draw.choice([ZERO, *IDS]), old))
            model = Model(before, updates)
            signature = Signature.of(refs.store, b"random", b"N <n@example.com>")
            with Transaction(refs.store, signature, allow_failure=True) as transaction:
                for name, new, old in updates:
                    transaction.add_update(name, None if new == ZERO else new, old=old)
                transaction.prepare()
                rejected = transaction.rejected
                assert {name: type(error) for name, error in rejected.items()} == model.rejected
            assert refs_of(refs) == model.refs
            for name in model.rejected:  # nothing of them is written, no reflog entry either
                logged = next(iter(refs.read_reflog(name, newest_first=True)), None)
                assert (logged.new_sha if logged else None) == before.get(name)
        assert not [found for found in refs.verify() if found.severity != "info"]


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    with dr.Repo.init_bare(tmp_path / "r.git", mkdir=True) as repo:
        refs = repo.refs
        assert isinstance(refs, dr.ReftableRefsContainer)
        refs[b"refs/heads/a"] = IDS[0]
        transaction = Transaction(refs.store, allow_failure=True)
        for name in (b"refs/heads/a/b", b"refs/heads/x/y", b"refs/heads/x", b"refs/heads/z"):
            transaction.create(name, IDS[1])
        transaction.update(b"refs/heads/none", IDS[1], IDS[2])
        transaction.prepare()
        conflicts = {
            name: error.other
            for name, error in transaction.rejected.items()
            if isinstance(error, RefConflictError)
        }
        assert conflicts == {b"refs/heads/a/b": b"refs/heads/a", b"refs/heads/x": b"refs/heads/x/y"}
        lost = transaction.rejected[b"refs/heads/none"]
        assert isinstance(lost, TransactionError)
        assert (lost.expected, lost.actual) == (IDS[2], None)
        transaction.commit()
        assert {*refs_of(refs)} == {b"refs/heads/a", b"refs/heads/x/y", b"refs/heads/z"}
