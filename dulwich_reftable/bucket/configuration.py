# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The configuration of a repository in a bucket, in its object ``config``.

There are no files beside it, and each server has other ones: ``include.path`` is refused when it is
written, and has no effect if it is there all the same.
"""

from __future__ import annotations

import os
import secrets
from io import BytesIO

from dulwich.config import ConfigFile

from ..compat import read_config
from ..config.files import includes_files, naming_file
from ..config.values import GitConfigFile
from ..engine.errors import ConfigurationError
from .client import Fetched
from .named_files import CONFIG, NamedFiles

__all__ = ["BucketConfig", "first_config"]


class BucketConfig(GitConfigFile):
    """The configuration of a repository in a bucket.

    :meth:`write_to_path` writes it back, unless somebody else has changed it since it was read.
    """

    _files: NamedFiles
    _base: Fetched | None = None
    _location = ""

    @classmethod
    def read(cls, files: NamedFiles, found: Fetched, location: str) -> BucketConfig:
        """Parse the configuration.

        Raises:
          ConfigurationError: if it cannot be parsed
        """
        with naming_file(location):
            config = cls.of(read_config(BytesIO(found.data)))
        assert isinstance(config, cls)
        config._files = files
        config._base = found
        config._location = location
        return config

    def write_to_path(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the configuration, by default to where it was read.

        Raises:
          StaleListError: if somebody else has changed it since it was read
          ConfigurationError: if it asks for the inclusion of files, which are not there
        """
        if path is not None:
            super().write_to_path(path)
            return
        if includes_files(self):
            raise ConfigurationError(f"{self._location}: there are no files to include in a bucket")
        data = _text_of(self)
        self._files.write(CONFIG, data, self._base)
        self._base = self._files.latest(CONFIG)


def first_config(object_format: str) -> bytes:
    """Give the text of a new repository's configuration.

    Args:
      object_format: ``"sha1"`` or ``"sha256"``
    """
    config = ConfigFile()
    config.set(b"core", b"repositoryformatversion", b"1")
    config.set(b"core", b"bare", True)
    config.set(b"core", b"logAllRefUpdates", True)
    config.set(b"extensions", b"refStorage", b"reftable")
    if object_format != "sha1":
        config.set(b"extensions", b"objectFormat", object_format.encode())
    # So whoever reads it back knows which of several has made it.
    config.set(b"bucket", b"id", secrets.token_hex(8).encode())
    return _text_of(config)


def _text_of(config: ConfigFile) -> bytes:
    file = BytesIO()
    config.write_to_file(file)
    return file.getvalue()
