"""The mutations still fit the code; ``python -m tests.mutants`` tells whether tests notice them."""

from __future__ import annotations

from pathlib import Path

from mutants.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[1]


def test_all_apply() -> None:
    assert len(MUTATIONS) >= 80
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    misfits = {mutation.name: mutation.misfit(ROOT) for mutation in MUTATIONS}
    assert {name: why for name, why in misfits.items() if why} == {}
