# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Noticing that the refs of an open repository were migrated to another format.

A migration replaces the configuration file, so one ``stat`` shows that nothing has changed; only a
changed file is read again. Refs in files (:mod:`dulwich_reftable.repo.files_refs`) are checked at
each use; reftables only on a write, or where there is no list of tables.
"""

from __future__ import annotations

import os

from dulwich.repo import UnsupportedExtension, UnsupportedVersion

from ..engine.errors import ConfigurationError, RefsMovedError, ReftableError, StorageError
from .files import own_config
from .ref_format import ref_format_of

__all__ = ["FormatWatch"]


class FormatWatch:
    """Compares a repository's configuration with the format that its refs were opened in.

    A repository without a configuration has its refs in files. But if there is none when reftables
    are opened, they are taken to be without a repository, and are not checked.

    Args:
      common_dir: the repository's control directory
      ref_format: ``"reftable"`` or ``"files"``
    """

    def __init__(self, common_dir: str, ref_format: str) -> None:
        self._common_dir = common_dir
        self._path = os.path.join(common_dir, "config")
        self._ref_format = ref_format
        self._is_alone = not os.path.exists(self._path)
        self._confirmed: tuple[int, ...] | None = None

    def check(self) -> None:
        """Check that the refs are still in that format.

        Raises:
          RefsMovedError: if they are not
          ConfigurationError: if the configuration does not tell
          StorageError: if the configuration cannot be read
        """
        try:
            identity = _identity(os.stat(self._path))
            if identity == self._confirmed:
                return
            found = ref_format_of(own_config(self._common_dir))
        except FileNotFoundError:
            if self._is_alone or self._ref_format == "files":
                return
            raise RefsMovedError(self._path, "the repository's configuration is gone") from None
        except ReftableError:
            raise  # it names the file
        except OSError as error:
            raise StorageError.of(error, "read", self._path) from error
        except (UnsupportedExtension, UnsupportedVersion) as error:
            raise ConfigurationError(f"{self._path}: {error}") from error
        if found != self._ref_format:
            raise RefsMovedError(
                self._path, f"refs are in the {found} format now, not in {self._ref_format}"
            )
        self._confirmed = identity


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
