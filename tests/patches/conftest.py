"""Fixtures for the tests of dulwich as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import dulwich_reftable as dr

from .sides import side as side  # a fixture
from .sides import sides as sides


@pytest.fixture
def installed() -> Iterator[None]:
    """Have stock dulwich work through us."""
    with dr.installed():
        yield
