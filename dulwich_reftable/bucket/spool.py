# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Receive a pack on the local disk, so that nothing is uploaded that was not checked.

The spool is an object store of dulwich in a temporary directory. It indexes a pack, verifies each
object, and completes a thin pack with bases, which it reads from the bucket: for dulwich, the
bucket is its alternate.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

from dulwich.object_store import BaseObjectStore, DiskObjectStore

__all__ = ["Spool"]


class Spool(DiskObjectStore):
    """A temporary object store for a pack that is to be uploaded; a context manager.

    Args:
      bases: the store that has the bases of a thin pack
    """

    def __init__(self, bases: BaseObjectStore) -> None:
        self._temporary = TemporaryDirectory(prefix="dulwich-reftable-")
        self._bases = bases
        os.mkdir(os.path.join(self._temporary.name, "pack"))
        super().__init__(
            self._temporary.name, pack_index_version=2, object_format=bases.object_format
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def alternates(self) -> list[BaseObjectStore]:
        """The bucket's store."""
        return [self._bases]

    def files(self) -> tuple[str, str]:
        """Give the paths of the pack that was received, and of its index."""
        folder = os.fspath(self.pack_dir)
        [index] = [name for name in os.listdir(folder) if name.endswith(".idx")]
        stem = os.path.join(folder, index.removesuffix(".idx"))
        return f"{stem}.pack", f"{stem}.idx"

    def close(self) -> None:
        """Close the files, and remove the directory."""
        # dulwich would close the alternates, too.
        self._alternates = None
        super().close()
        self._temporary.cleanup()
