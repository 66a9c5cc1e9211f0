"""What stays in a bucket when nobody knows whether an update has happened."""

from __future__ import annotations

from typing import NoReturn

import pytest

from bucket.test_storage import add, numbers_in, open_stack, tables_of
from dulwich_reftable.bucket import Bucket
from dulwich_reftable.bucket.current import CurrentHead
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.errors import OutcomeUnknownError


def test_the_table_stays(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head may list it yet."""
    BucketStorage.create(bucket)
    swap = CurrentHead.swap

    def swap_unheard(*args: object, **options: object) -> NoReturn:
        swap(*args, **options)  # type: ignore[arg-type]
        raise OutcomeUnknownError("head", "it does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(CurrentHead, "swap", swap_unheard)
        with pytest.raises(OutcomeUnknownError):
            add(open_stack(bucket), range(1000))
    assert len(tables_of(bucket)) == 1
    assert numbers_in(open_stack(bucket)) == [*range(1000)]
