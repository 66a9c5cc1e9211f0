"""Whose turn it is, by the nonces of a head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dulwich_reftable.bucket.head import WRITER_DIGITS, Commit, Head
from dulwich_reftable.bucket.turns import Turns

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


def test_who_has_not_written_for_longest_is_next() -> None:
    a, b, c, new = (Turns() for _ in range(4))
    head = head_of(a, b, a, c, b, c)
    assert [turns.before_us(head, NOW) for turns in (a, b, c)] == [0, 1, 2]
    assert new.before_us(head, NOW) == 0


def test_nobody_waits_for_himself_or_for_those_who_are_silent() -> None:
    a, b = Turns(), Turns()
    assert a.before_us(head_of(a, a), NOW) is None
    assert a.before_us(head_of(b, a), NOW + 5) is None
    assert b.before_us(head_of(a), NOW + 5) is None
    assert a.before_us(head_of(b, a), NOW + 1) == 1
    assert a.before_us(head_of(b, a, when=1_000_000), NOW) == 1  # a clock that is wrong
    assert a.before_us(replace(head_of(b, a), serial=1), NOW) is None  # b has made the stack


def test_a_wait_is_some_part_of_a_swap_for_each() -> None:
    turns = Turns()
    assert turns.pause(5) == 0
    turns.took(0.01)
    assert 0.005 < turns.pause(1) < 0.007
    assert 0.035 < turns.pause(7) < 0.047
    assert turns.pause(10**6) == 0.25
    for seconds in (5.0, 0.01, 0.01):  # the network has stumbled
        turns.took(seconds)
    assert turns.seconds == pytest.approx(0.01)
