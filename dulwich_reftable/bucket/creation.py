# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Make a repository in a bucket: first its stack, and its configuration last.

Who dies in between leaves a stack without a configuration, which nobody takes for a repository. The
next one that makes a repository there takes it as it is.
"""

from __future__ import annotations

import errno

from dulwich.refs import check_ref_format, local_branch_name
from dulwich.repo import DEFAULT_BRANCH

from ..config.files import config_in_force
from ..config.ref_format import OBJECT_FORMATS
from ..engine.errors import StorageError
from .client import Bucket
from .configuration import first_config
from .named_files import CONFIG, NamedFiles
from .storage import BucketStorage

__all__ = ["draft", "taken"]

_HASH_IDS = {"sha1": "sha1", "sha256": "s256"}


def draft(
    bucket: Bucket,
    files: NamedFiles,
    object_format: str | None,
    default_branch: bytes | None,
    grace: float,
) -> None:
    """Make all of a repository but its configuration, which is staged in ``files``.

    Args:
      bucket: its place
      files: its files
      object_format: ``"sha1"`` or ``"sha256"``; None for SHA-1
      default_branch: short name of the branch that HEAD leads to; None for ``init.defaultBranch``
      grace: seconds for which replaced tables are kept for those who read them
    Raises:
      StorageError: one of :mod:`.errors`; ``EEXIST`` if there is a repository
      UnfitStoreError: if the store ignores conditions
      OutcomeUnknownError: if nobody knows whether the stack is, or will be, there
      ValueError: if the hash or the branch is impossible; nothing was made
    """
    name = object_format or "sha1"
    if name not in OBJECT_FORMATS:
        raise ValueError(f"unknown object format {object_format!r}")
    branch = local_branch_name(default_branch or _default_branch())
    if not check_ref_format(branch):
        raise ValueError(f"no branch can have the name {branch!r}")
    if files.read(CONFIG) is not None:
        raise taken(bucket)
    _make_stack(bucket, _HASH_IDS[name], branch, grace)
    files.stage(CONFIG, first_config(name))


def taken(bucket: Bucket) -> StorageError:
    """Make the error of a place that has a repository (``EEXIST``)."""
    return StorageError(errno.EEXIST, "there is a repository already", bucket.location)


def _default_branch() -> bytes:
    try:
        return config_in_force().get((b"init",), b"defaultBranch")
    except KeyError:
        return DEFAULT_BRANCH


def _make_stack(bucket: Bucket, hash_id: str, branch: bytes, grace: float) -> None:
    try:
        BucketStorage.create(bucket, hash_id, grace, head=branch)
    except StorageError as error:
        if error.errno != errno.EEXIST:
            raise
        if BucketStorage(bucket).current.latest().head.hash_id != hash_id:
            raise taken(bucket) from None
