"""Places in object stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from bucket.answering import AnsweringServer
    from dulwich_reftable.bucket import Bucket

_numbers = itertools.count()


class _NeedsObstore(pytest.Module):
    """Tests that cannot even be imported."""

    def collect(self) -> NoReturn:
        pytest.skip("obstore is not installed")


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    # Not importorskip for this file: pytest, told to run this directory, ends in a traceback.
    if find_spec("obstore") is None:
        return _NeedsObstore.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def bucket() -> Bucket:
    """Give an empty bucket in memory."""
    from dulwich_reftable.bucket import open_store

    return open_store(f"memory://test-{next(_numbers)}/prefix")


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """Run a server that answers what it is told to."""
    from bucket.answering import AnsweringServer

    server = AnsweringServer()
    with server:
        yield server


@pytest.fixture
def s3(server: AnsweringServer) -> Callable[..., Bucket]:
    """Open the bucket of that server."""
    from dulwich_reftable.bucket import open_store

    def give(**options: object) -> Bucket:
        return open_store("s3://somewhere/a/b", **{**server.options, "deadline": 0.0, **options})

    return give
