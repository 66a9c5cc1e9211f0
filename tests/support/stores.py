"""Places in the object store that the option ``--storage`` names."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dulwich_reftable.bucket import Bucket, open_store

__all__ = ["SERVERS", "MakeBucket", "buckets_of"]

SERVERS = ("radosgw", "ministack")
"""Real servers, which :mod:`bucket.servers` starts."""

MakeBucket = Callable[[int], list[Bucket]]
"""Takes a number of processes to play, and gives each of them its view of one new, empty place."""

_numbers = itertools.count()


@contextmanager
def buckets_of(storage: str) -> Iterator[MakeBucket]:
    """Make places in the memory of this process, or in a server that runs as long as the context.

    Args:
      storage: one of :data:`SERVERS`; anything else is memory
    """
    if storage not in SERVERS:
        yield lambda count: _places("memory://tests", {}, count)
        return
    from bucket.servers import BUCKET, NotHereError, run_server

    try:
        with run_server(storage) as options:
            yield lambda count: _places(f"s3://{BUCKET}", options, count)
    except NotHereError as error:
        pytest.skip(f"{storage} cannot be run here: {error}")


def _places(base: str, options: dict[str, Any], count: int) -> list[Bucket]:
    url = f"{base}/{next(_numbers)}/prefix"
    return [open_store(url, **options) for _ in range(count)]
