# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Repositories in an object store (the extra ``bucket``)."""

from ..compat import check_version

check_version("bucket")

from .cache import Cache
from .client import Bucket, Fetched, ObjectInfo, Version
from .errors import (
    AccessError,
    ConditionError,
    ConflictError,
    MissingBucketError,
    MissingObjectError,
    UnavailableError,
    UnfitStoreError,
)
from .object_store import BucketObjectStore
from .opening import is_bucket_url, open_store
from .repo import BucketRepo

__all__ = [
    "AccessError",
    "Bucket",
    "BucketObjectStore",
    "BucketRepo",
    "Cache",
    "ConditionError",
    "ConflictError",
    "Fetched",
    "MissingBucketError",
    "MissingObjectError",
    "ObjectInfo",
    "UnavailableError",
    "UnfitStoreError",
    "Version",
    "is_bucket_url",
    "open_store",
]
