"""Test modules that this dulwich cannot import."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

__all__ = ["TestModule"]

_ROOMS = ("dulwich_reftable.server", "dulwich_reftable.bucket")
"""What refuses to be imported beside a dulwich that is too old for it."""


class TestModule(pytest.Module):
    """A module of tests; skipped as a whole where this dulwich is too old for what it imports."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            if getattr(error.__cause__, "target", None) not in _ROOMS:
                raise
            reason = str(error.__cause__)
        pytest.skip(reason)
