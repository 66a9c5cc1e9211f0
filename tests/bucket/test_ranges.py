"""Which requests are made for ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.bucket.ranges import cut, requests_for

DATA = bytes(range(256)) * 2


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, len(DATA)))
    return start, draw(st.integers(start, len(DATA)))


@given(st.lists(ranges(), max_size=8), st.integers(1, 200), st.integers(0, 60))
def test_each_range_is_cut_from_the_answers(
    wanted: list[tuple[int, int]], piece: int, gap: int
) -> None:
    planned = requests_for(wanted, piece=piece, gap=gap)
    answers = [DATA[start:stop] for start, stop in planned]
    assert [cut(one, planned, answers) for one in wanted] == [DATA[a:b] for a, b in wanted]
    assert all(0 < stop - start <= piece for start, stop in planned)
    assert all(one[1] <= two[0] for one, two in pairwise(planned))
    # Nothing is fetched that is farther than the gap from what was asked for.
    fetched = {at for start, stop in planned for at in range(start, stop)}
    near = {at for start, stop in wanted for at in range(start, stop + gap)}
    assert fetched <= near


def test_near_ranges_share_a_request() -> None:
    assert requests_for([(900, 1000), (0, 10), (20, 30)], gap=10) == [(0, 30), (900, 1000)]
    assert requests_for([(0, 25)], piece=10) == [(0, 10), (10, 20), (20, 25)]
