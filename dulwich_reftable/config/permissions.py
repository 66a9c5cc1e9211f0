# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Modes of files in a shared repository (``core.sharedRepository``), as git sets them.

The umask has made the mode of a new file. A word such as ``group`` adds to it what others may do; a
number states the mode (git: ``path.c``, ``calc_shared_perm`` and ``adjust_shared_perm``). dulwich
reads the setting so from 1.2.13 on, and in another way before.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

__all__ = ["SharedMode"]

_READ = 0o444
_WRITE = 0o222


@dataclass(frozen=True)
class SharedMode:
    """What others may do with the files of a repository.

    Attributes:
      bits: of the mode of a file
      is_exact: whether these are all bits; otherwise they are added to those that the file has
    """

    bits: int
    is_exact: bool = False

    @classmethod
    def of(cls, value: bytes) -> SharedMode | None:
        """Read a value as :func:`dulwich_reftable.config.types.shared_repository` returns it.

        Returns: None if the umask alone decides
        """
        words = {b"umask": None, b"group": cls(0o660), b"everybody": cls(0o664)}
        return words[value] if value in words else cls(int(value, 8), is_exact=True)

    def adjust(self, path: str) -> None:
        """Set the mode of a file or a directory.

        Who may read a directory may also enter it, and new files in it get its group.
        """
        found = os.stat(path).st_mode
        before = stat.S_IMODE(found)
        bits = self.bits
        if not before & stat.S_IWUSR:
            bits &= ~_WRITE
        if before & stat.S_IXUSR:
            bits |= (bits & _READ) >> 2
        mode = (before & ~0o777 if self.is_exact else before) | bits
        if stat.S_ISDIR(found):
            mode |= (mode & _READ) >> 2
            if mode & 0o060:
                mode |= stat.S_ISGID
        if mode != before:
            os.chmod(path, mode)
