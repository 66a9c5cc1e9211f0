# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Finding out whether a store keeps its word on conditional writes.

A store that ignores conditions, as some gateways and emulators do, answers a lost swap with success
and so loses updates in silence. No documentation is trusted: each process tries it once, on an
object of its own, before its first swap. On the way it learns which form of entity tags the
conditions want, because some stores match only tags without quotes.
"""

from __future__ import annotations

from collections.abc import Callable

from ..engine.errors import StorageError
from .client import Bucket, Version
from .errors import (
    ConditionError,
    ConflictError,
    MissingObjectError,
    UnavailableError,
    UnfitStoreError,
)
from .head import new_nonce
from .requests import is_ending, tries

__all__ = ["check_conditions"]

_VERDICTS = 3
"""How many times a store is found unfit before it is refused."""


def check_conditions(bucket: Bucket) -> None:
    """Make sure, once a client, that conditional writes mean something.

    Args:
      bucket: where the repository is; an object below it is made and removed
    Raises:
      UnfitStoreError: if they do not
      StorageError: one of :mod:`.errors`
    """
    client = bucket.client
    if client.keeps_conditions:
        return
    failure: StorageError | None = None
    verdicts = 0
    for _ in tries(client.deadline):
        key = f"probe-{new_nonce()}"
        try:
            _probe(bucket, key)
        except (ConditionError, ConflictError, MissingObjectError, UnavailableError) as error:
            failure = error  # and what an unanswered request did is not known: start afresh
        except UnfitStoreError as error:
            # A store that fails can look like one that is unfit, but not again and again.
            failure = error
            verdicts += 1
            if verdicts == _VERDICTS:
                raise
        else:
            client.keeps_conditions = True
            return
        finally:
            if not is_ending():
                bucket.delete([key])
    assert failure is not None
    raise failure


def _probe(bucket: Bucket, key: str) -> None:
    version = bucket.create(key, b"0")
    if _applies(lambda: bucket.create(key, b"1")):
        raise UnfitStoreError(bucket.location, "it creates an object that exists already")
    # Always other bytes: the entity tag may be made of them.
    second = _replace_in_either_form(bucket, key, version)
    if _applies(lambda: bucket.replace(key, b"3", version)):
        raise UnfitStoreError(bucket.location, "it replaces an object that has changed")
    found = bucket.get(key)
    if found is None or found.data != b"2" or found.version != second:
        raise UnfitStoreError(bucket.location, "it does not give what was written last")


def _replace_in_either_form(bucket: Bucket, key: str, version: Version) -> Version:
    client = bucket.client
    for strips_quotes in (client.strips_quotes, not client.strips_quotes):
        client.strips_quotes = strips_quotes
        try:
            return bucket.replace(key, b"2", version)
        except ConditionError:
            continue
    raise UnfitStoreError(bucket.location, "it replaces no object under a condition that is met")


def _applies(write: Callable[[], object]) -> bool:
    try:
        write()
    except ConditionError:
        return False
    return True
