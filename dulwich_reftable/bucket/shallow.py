# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The shallow commits of a repository in a bucket: a file that several may change at once."""

from __future__ import annotations

from collections.abc import Iterable

from ..engine.errors import StaleListError
from .named_files import NamedFiles

__all__ = ["SHALLOW", "update_shallow"]

SHALLOW = "shallow"
"""The file, as in a control directory: one hex id a line."""

_TRIES = 16
"""How often the file is changed anew because others have changed it meanwhile."""


def update_shallow(
    files: NamedFiles, new: Iterable[bytes], gone: Iterable[bytes], hex_length: int
) -> None:
    """Change the list of shallow commits.

    Args:
      files: of the repository
      new: hex ids of commits that become shallow
      gone: hex ids of commits that are shallow no longer
      hex_length: digits of an id
    Raises:
      ValueError: if one of these is no id; nothing has happened
      StaleListError: if others change the list all the time
      StorageError: one of :mod:`.errors`
    """
    added, removed = {*new}, {*gone}
    for oid in added | removed:
        if len(oid) != hex_length or oid.strip(b"0123456789abcdef"):
            raise ValueError(f"invalid shallow object id {oid!r}")
    failure: StaleListError | None = None
    for _ in range(_TRIES):
        base = files.read(SHALLOW)
        before = set() if base is None else {*base.data.split()}
        after = (before | added) - removed
        if after == before:
            return
        try:
            files.write(SHALLOW, b"".join(b"%s\n" % oid for oid in sorted(after)), base)
        except StaleListError as error:
            failure = error
        else:
            return
    assert failure is not None
    raise failure
