"""The whole container of refs, in a bucket; ``--storage bucket`` runs all tests there."""

from __future__ import annotations

import pytest
from support.memory_refs import another, refs_on

import dulwich_reftable as dr
from dulwich_reftable.bucket import Bucket
from dulwich_reftable.bucket.storage import BucketStorage

MAIN, TOPIC = b"refs/heads/main", b"refs/heads/topic"
ONE, TWO = b"1" * 40, b"2" * 40


@pytest.fixture
def refs(bucket: Bucket) -> dr.ReftableRefsContainer:
    return refs_on(None, storage=BucketStorage.create(bucket))


def test_what_one_server_writes_another_reads(refs: dr.ReftableRefsContainer) -> None:
    other = another(refs)
    refs.set_symbolic_ref(b"HEAD", MAIN)
    with refs.transaction(message=b"begin") as tx:
        tx.create(MAIN, ONE)
        tx.create(TOPIC, TWO)
    assert other.as_dict() == {b"HEAD": ONE, MAIN: ONE, TOPIC: TWO}
    assert [entry.message for entry in other.read_reflog(b"HEAD")] == [b"begin"]
    other.rename(TOPIC, b"refs/heads/moved", message=b"move")
    assert refs.read_ref(TOPIC) is None
    assert refs[b"refs/heads/moved"] == TWO
    assert {*refs.refs_for_object(TWO)} == {b"refs/heads/moved"}


def test_one_of_two_servers_wins(refs: dr.ReftableRefsContainer) -> None:
    other = another(refs)
    refs[MAIN] = ONE
    assert other.set_if_equals(MAIN, ONE, TWO)
    assert not refs.set_if_equals(MAIN, ONE, b"3" * 40)
    assert refs[MAIN] == TWO
    with pytest.raises(dr.TransactionError, match="expected"), refs.transaction() as tx:
        tx.update(MAIN, ONE, old=ONE)
    with pytest.raises(dr.RefConflictError):
        other[MAIN + b"/below"] = ONE


def test_a_snapshot_stays_as_it_was(refs: dr.ReftableRefsContainer) -> None:
    for number in range(30):
        refs[b"refs/tags/%d" % number] = ONE
    held = refs.snapshot()
    for number in range(30):
        del refs[b"refs/tags/%d" % number]
    refs.compact()
    refs.clean()
    assert len(held.as_dict()) == 30
    assert another(refs).as_dict() == {}
    assert list(refs.verify()) == []
