"""The filter over a table's names: never wrong about what is there, seldom about what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.name_filter import NameFilter


@given(st.lists(st.binary()), st.integers(0, 100))
def test_it_holds_whatever_was_added(names: list[bytes], count: int) -> None:
    """Even if there were fewer or more than was thought."""
    holder = NameFilter(count)
    holder.add(names[:3])
    holder.add(names[3:])
    assert all(holder.may_hold(name) for name in names)


def test_it_seldom_takes_a_stranger_for_one_of_its_own() -> None:
    holder = NameFilter(5_000)
    assert not any(holder.may_hold(b"refs/heads/%d" % i) for i in range(100))
    holder.add(b"refs/heads/%d" % i for i in range(5_000))
    mistakes = sum(holder.may_hold(b"refs/tags/%d" % i) for i in range(5_000))
    assert mistakes < 500
