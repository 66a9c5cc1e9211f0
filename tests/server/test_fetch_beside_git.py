"""Random clones and fetches, each beside one from ``git upload-pack``.

``python -m tests.soak.fetches`` runs more of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.git import requires_git

from .fetching import run_scenario
from .serving import running

pytestmark = requires_git

SCENARIOS = int(os.environ.get("DULWICH_REFTABLE_FETCH_SCENARIOS", "1"))
"""How many follow from seeds of each way of serving."""


@pytest.mark.parametrize(
    ("kind", "ref_format", "seed"),
    [("tcp", "reftable", 9), ("http", "reftable", 5000), ("tcp", "files", 10000)],
)
def test_the_same_is_left_behind(
    kind: str, ref_format: str, seed: int, root: Path, tmp_path: Path
) -> None:
    with running(root, kind) as server:
        for number in range(seed, seed + SCENARIOS):
            scratch = tmp_path / str(number)
            scratch.mkdir()
            differences = run_scenario(
                number, scratch, root, server.url.__add__, ref_format=ref_format, rounds=1
            )
            assert not differences
