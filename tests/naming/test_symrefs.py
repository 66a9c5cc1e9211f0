"""Symrefs: what a value says, and where a chain of them leads."""

from __future__ import annotations

import pytest

from dulwich_reftable.naming.symrefs import (
    MAX_SYMREF_DEPTH,
    is_symref,
    resolve,
    resolved_id,
    symref_target,
    symref_to,
)

ID = b"1" * 40


def chain_of(length: int, end: bytes | None) -> dict[bytes, bytes]:
    """Make so many refs, each of which points to the next; the last one has a value of its own."""
    refs = {b"%d" % number: symref_to(b"%d" % (number + 1)) for number in range(length - 1)}
    if end is not None:
        refs[b"%d" % (length - 1)] = end
    return refs


def test_values_of_symrefs() -> None:
    assert symref_to(b"refs/heads/a") == b"ref: refs/heads/a"
    assert symref_target(b"ref: refs/heads/a") == b"refs/heads/a"
    assert symref_target(b"ref: ") == b""
    assert symref_target(ID) is symref_target(None) is None
    assert is_symref(b"ref: a")
    assert not is_symref(ID)


@pytest.mark.parametrize("length", range(1, MAX_SYMREF_DEPTH + 3))
@pytest.mark.parametrize("end", [ID, None])
def test_chains_are_followed_to_the_largest_depth(length: int, end: bytes | None) -> None:
    names, value = resolve(b"0", chain_of(length, end).get)
    read = min(length, MAX_SYMREF_DEPTH)
    assert names == [b"%d" % number for number in range(read)]
    is_too_long = length > MAX_SYMREF_DEPTH
    assert value == (symref_to(b"%d" % read) if is_too_long else end)
    assert resolved_id(b"0", chain_of(length, end).get) == (None if is_too_long else end)


def test_a_circle_ends() -> None:
    circle = {b"a": symref_to(b"b"), b"b": symref_to(b"a")}
    assert resolve(b"a", circle.get, 3) == ([b"a", b"b", b"a"], symref_to(b"b"))
    assert resolved_id(b"a", circle.get) is None
