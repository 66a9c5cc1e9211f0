"""The entries of trees, read all at once; the reading one by one is the judge."""

from __future__ import annotations

import pytest
from dulwich.errors import ObjectFormatException
from dulwich.objects import Blob, Commit, Tree
from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.objects.trees import entry_type, new_entries
from dulwich_reftable.server.receive_pack.tree_scan import scan_tree

MODES = [b"100644", b"100755", b"120000", b"40000", b"160000", b"100664"]
ENTRY = st.tuples(
    st.sampled_from(MODES),
    st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name and b"/" not in name),
    st.sampled_from([b"a" * 20, b"b" * 20, b"\n" * 20, b"\0" * 20, b"40000 x\0" + b"c" * 12]),
)


def tree_of(entries: list[tuple[bytes, bytes, bytes]]) -> bytes:
    return b"".join(b"%s %s\0%s" % entry for entry in entries)


@given(st.lists(ENTRY, max_size=8), st.sets(st.sampled_from([b"a" * 20, b"\0" * 20])))
def test_entries(entries: list[tuple[bytes, bytes, bytes]], known: set[bytes]) -> None:
    tree = tree_of(entries)
    expected = [entry for entry in entries if entry[2] not in known]
    assert new_entries(tree, 20, known) == expected
    assert [tuple(entry) for entry in scan_tree(tree, 20) if entry.oid not in known] == expected


@given(st.lists(ENTRY, min_size=1, max_size=4), st.data())
def test_malformed(entries: list[tuple[bytes, bytes, bytes]], data: st.DataObject) -> None:
    tree = tree_of(entries)
    boundaries = {len(tree_of(entries[:count])) for count in range(len(entries) + 1)}
    cut = data.draw(st.integers(1, len(tree)).filter(lambda end: end not in boundaries))
    with pytest.raises(ObjectFormatException):
        new_entries(tree[:cut], 20, {b"a" * 20})
    with pytest.raises(ObjectFormatException):
        new_entries(b"x" + tree, 20, set())


def test_types() -> None:
    kinds = [Blob, Blob, Blob, Tree, Commit, Blob]
    assert [entry_type(mode) for mode in MODES] == [kind.type_num for kind in kinds]
    assert entry_type(b"040000") == Tree.type_num
    assert entry_type(b"0") == Commit.type_num
