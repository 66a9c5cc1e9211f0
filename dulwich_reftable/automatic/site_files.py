# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The files in a directory of site-packages by which Python starts the hook.

Each that is written begins with a comment: the version that has written it, and a checksum of the
rest. So a file that somebody else has written or changed is told from those of any of our versions,
and is never overwritten or removed. The distribution ``dulwich-reftable-auto`` holds the same files
without that comment; they are pip's.

The two modules are copied there, and are no part of the package: ``.pth`` files are run before all
of Python's path is known, and a ``.start`` file whose module is missing is reported at each start.
This way nothing is ever missing, whatever becomes of the package.

Python reads ``.start`` files from 3.15 on, but imports some thirty modules to do so, which takes
longer than half of an empty program. Until 3.17, it runs the imports of ``.pth`` files as well (PEP
829), which costs next to nothing. So each Python gets one of the two.
"""

from __future__ import annotations

import hashlib
import os
import py_compile
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from importlib.metadata import distributions
from importlib.resources import files
from importlib.util import cache_from_source
from pathlib import Path

from ..engine.errors import ReftableError, StorageError

__all__ = ["DISTRIBUTION", "OFF", "SiteError", "SiteFiles", "is_active"]

MODULE = "dulwich_reftable_auto"
DISTRIBUTION = "dulwich-reftable-auto"
OFF = "DULWICH_REFTABLE_AUTO"
"""The environment variable that switches the hook off, by the value 0."""

_PTH, _START = f"{MODULE}.pth", f"{MODULE}.start"
_NAMES = ("dulwich_reftable_stand_ins.py", f"{MODULE}.py", _PTH, _START)
"""In the order in which they are written: a module is there before Python is told of it."""

_UNUSED = _PTH if sys.version_info >= (3, 18) else _START
"""The one that is not written, since there is a better one for this Python."""

_COMMENT = re.compile(rb"# Written by dulwich-reftable (\S+), sha256 of the rest: ([0-9a-f]{64})\n")
_MODE = 0o644  # site-packages are for all users, whatever the umask of one


class SiteError(ReftableError):
    """The hook cannot be switched on or off there."""


class SiteFiles:
    """The hook's files in one directory.

    Args:
      directory: of site-packages
      version: of this package; new files name it
    """

    def __init__(self, directory: str, version: str) -> None:
        self.directory = Path(directory)
        self._version = version

    @classmethod
    def of_environment(cls, version: str) -> SiteFiles:
        """Give those of the Python environment that runs this program."""
        return cls(sysconfig.get_path("purelib"), version)

    @classmethod
    def of_user(cls, version: str) -> SiteFiles:
        """Give those of the user, for the same Python."""
        return cls(site.getusersitepackages(), version)

    @property
    def package_version(self) -> str | None:
        """The version of the distribution that holds the files; None if they are not pip's."""
        found = distributions(name=DISTRIBUTION, path=[str(self.directory)])
        return next((distribution.version for distribution in found), None)

    def versions(self) -> dict[str, str]:
        """Tell which files are there, and which versions have written them.

        Raises:
          SiteError: if one is not ours
          StorageError: if one cannot be read
        """
        found = {}
        for name in _NAMES:
            data = self._read(name)
            if data is None:
                continue
            comment = _COMMENT.match(data)
            if comment is None or _checksum(data[comment.end() :]) != comment[2].decode():
                raise SiteError(
                    f"'{self.directory / name}' was not written by this command, "
                    "or was changed since then; it stays as it is"
                )
            found[name] = comment[1].decode()
        return found

    def write(self) -> bool:
        """Write the files, where they are missing or of another version; remove one not needed.

        Returns: whether something was written or removed
        Raises:
          SiteError: if there is a file that is not ours; nothing was written
          StorageError: if the directory cannot be written to
        """
        unneeded = _UNUSED in self.versions()
        wanted = {name: self._contents(name) for name in _NAMES if name != _UNUSED}
        stale = [name for name, data in wanted.items() if self._read(name) != data]
        for name in stale:
            path = self.directory / name
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                _replace(path, wanted[name])
                if path.suffix == ".py":
                    # Other users cannot store what they have compiled, and would do it each time.
                    py_compile.compile(str(path))
            except OSError as error:
                raise StorageError.of(error, "write", str(path)) from error
        if unneeded:
            self._unlink(self.directory / _UNUSED)
        return bool(stale) or unneeded

    def remove(self) -> bool:
        """Remove the files, and what Python has compiled of them.

        Returns: whether there was one
        Raises:
          SiteError: if there is a file that is not ours; nothing was removed
          StorageError: if the directory cannot be written to
        """
        found = self.versions()
        for name in reversed(_NAMES):
            if name in found:
                path = self.directory / name
                self._unlink(path)
                _remove_compiled(path)
        return bool(found)

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError as error:
            raise StorageError.of(error, "remove", str(path)) from error

    def _read(self, name: str) -> bytes | None:
        path = self.directory / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError.of(error, "read", str(path)) from error

    def _contents(self, name: str) -> bytes:
        data = (files(__package__) / name).read_bytes()
        comment = f"# Written by dulwich-reftable {self._version}, sha256 of the rest: "
        return f"{comment}{_checksum(data)}\n".encode() + data


def is_active(environ: dict[str, str] | None = None) -> bool:
    """Tell whether a Python that starts now runs the hook.

    Args:
      environ: its environment; None for that of this process
    """
    program = f"""
import sys
print(*(getattr(finder, "__module__", "") == {MODULE!r} for finder in sys.meta_path))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    return "True" in done.stdout


def _remove_compiled(path: Path) -> None:
    """Remove what Python has compiled of a file, if that is a module."""
    if path.suffix == ".py":
        directory = Path(cache_from_source(str(path))).parent
        with suppress(OSError):
            for compiled in directory.glob(f"{path.stem}.*.pyc"):
                compiled.unlink()
            directory.rmdir()  # unless it is needed


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place at once: another Python may start meanwhile."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, _MODE)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
