"""Places in object stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from bucket.answering import AnsweringServer
from dulwich_reftable.bucket import Bucket, open_store

_numbers = itertools.count()


@pytest.fixture
def bucket() -> Bucket:
    """Give an empty bucket in memory."""
    return open_store(f"memory://test-{next(_numbers)}/prefix")


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """Run a server that answers what it is told to."""
    server = AnsweringServer()
    with server:
        yield server


@pytest.fixture
def s3(server: AnsweringServer) -> Callable[..., Bucket]:
    """Open the bucket of that server."""

    def give(**options: object) -> Bucket:
        return open_store("s3://somewhere/a/b", **{**server.options, "deadline": 0.0, **options})

    return give
