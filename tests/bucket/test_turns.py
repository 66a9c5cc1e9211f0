"""Whose turn it is, by the nonces of a head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dulwich_reftable.bucket.head import WRITER_DIGITS, Commit, Head
from dulwich_reftable.bucket.turns import Expected, Turns

NOW = 1000.0


def head_of(*writers: Turns, when: int = 1000) -> Head:
    """A head that they have swapped one after another, once each."""
    return Head("sha1", tuple(Commit(writer.new_nonce(), when) for writer in writers), serial=99)


def test_nonces_tell_the_writer_and_differ() -> None:
    one, other = Turns(), Turns()
    nonces = [one.new_nonce() for _ in range(50)]
    assert {len(nonce) for nonce in nonces} == {16}
    assert len({*nonces}) == 50
    assert len({nonce[:WRITER_DIGITS] for nonce in nonces}) == 1
    assert other.new_nonce()[:WRITER_DIGITS] != nonces[0][:WRITER_DIGITS]


def waited_for(turns: Turns, head: Head, now: float = NOW) -> list[tuple[str, int]] | None:
    """The writers before one, and how many swaps are expected of each."""
    before = turns.before_us(head, now)
    return None if before is None else [(one.nonce[:WRITER_DIGITS], one.swaps) for one in before]


def word(turns: Turns) -> str:
    return turns.new_nonce()[:WRITER_DIGITS]


def test_each_writes_twice_and_who_has_not_written_for_longest_is_next() -> None:
    a, b, c, new = (Turns() for _ in range(4))
    head = head_of(a, b, a, c, b, c, c)
    assert [waited_for(turns, head) for turns in (a, b, c, new)] == [
        [],
        [(word(a), 2)],
        [(word(a), 2), (word(b), 2)],
        [],
    ]
    head = head_of(a, a, b, b, c)
    assert waited_for(c, head) == []
    assert waited_for(a, head) == waited_for(new, head) == [(word(c), 1)]
    assert waited_for(b, head) == [(word(c), 1), (word(a), 2)]
    assert a.before_us(head, NOW, expects_more=False) == []


def test_nobody_waits_for_himself_or_for_those_who_are_silent() -> None:
    a, b, c = Turns(), Turns(), Turns()
    assert a.before_us(head_of(a, a), NOW) is None
    assert a.before_us(head_of(b, a, a), NOW + 5) is None
    assert b.before_us(head_of(a), NOW + 5) is None
    assert waited_for(a, head_of(b, a, a), NOW + 1) == [(word(b), 2)]
    wrong_clock = head_of(b, a, a, when=1_000_000)
    assert waited_for(a, wrong_clock) == [(word(b), 2)]
    assert a.before_us(replace(head_of(b, a), serial=1), NOW) is None  # b has made the stack

    head = head_of(b, c, a, a)
    before = a.before_us(head, NOW)
    assert before is not None
    a.skip(before[0])
    assert waited_for(a, head) == [(word(c), 2)]
    assert waited_for(a, head_of(b, c, a, a)) == [(word(b), 2), (word(c), 2)]  # it has written


def test_wins_are_the_latest_swaps_of_one_process() -> None:
    a, b = Turns(), Turns()
    head = head_of(a, b, a, a)
    assert (a.wins(head), b.wins(head)) == (2, 0)


def test_a_wait_grows_with_those_before_and_with_what_a_swap_takes() -> None:
    turns = Turns()
    next_one, others = Expected("0" * 16, 1), [Expected("0" * 16, 2)] * 7
    assert turns.pause([next_one]) == turns.patience == 0
    turns.took(0.01)
    assert 0.002 < turns.pause([next_one]) < 0.003
    assert 0.17 < turns.pause(others) < 0.21
    assert turns.pause(others * 1000) == 0.25
    assert turns.patience == pytest.approx(0.025)
    for seconds in (5.0, 0.01, 0.01):  # the network has stumbled
        turns.took(seconds)
    assert turns.seconds == pytest.approx(0.01)
