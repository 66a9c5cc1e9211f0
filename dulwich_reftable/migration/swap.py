# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Putting what was prepared in place of what was there.

Which format counts is said by the repository's configuration, and git looks at nothing of the other
one. So there is one decisive moment, the rename of the new configuration over the old one:

* before it, all that belongs to the new format is put in place, where nobody looks at it yet;
* after it, all that belongs to the old one is retired, where nobody looks at it any more.

Whatever dies on the way leaves a repository whose format is complete, and remains of the other one.
To *settle* a format is to retire these. It can be done at any time, over and over: it ends every
migration, takes back one that failed, and finishes one that was killed.

Both formats have a ``HEAD`` and a ``refs/``, without which git would not recognize the directory:
these are never missing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from itertools import count

from dulwich.file import SharedPerm

from ..repo.stubs import write_stubs
from .layout import GitDir, root_files

__all__ = ["StagingDirectory", "put_files", "put_reftables", "settle"]

_DIRECTORY = "ref_migration"
_LEFT = f"{_DIRECTORY}.removed."


class StagingDirectory:
    """The directory in which a migration is prepared, and where it puts what is retired.

    It is there as long as the migration is not over; without it, there are no remains.

    Args:
      common_dir: the repository's control directory
      shared: mode that files are given; None leaves it to the umask

    Attributes:
      tree: directory for what is prepared, laid out like a control directory
      retired: directory that things are put into, laid out likewise
    """

    def __init__(self, common_dir: str, shared: SharedPerm | None) -> None:
        self._common_dir = common_dir
        self._path = os.path.join(common_dir, _DIRECTORY)
        self._shared = shared
        self._numbers = count()
        self.tree = os.path.join(self._path, "new")
        self.retired = ""

    def exists(self) -> bool:
        """Tell whether a migration is not over."""
        return os.path.lexists(self._path)

    def create(self) -> None:
        """Make it, or make use of the one that there is; remove what earlier ones had to leave."""
        for name in os.listdir(self._common_dir):
            if name.startswith(_LEFT):
                shutil.rmtree(os.path.join(self._common_dir, name), ignore_errors=True)
        os.makedirs(self.tree, exist_ok=True)
        self.retired = tempfile.mkdtemp(prefix="old.", dir=self._path)

    def retire(self, path: str) -> None:
        """Move a file or directory here; harmless if there is none."""
        if not os.path.lexists(path):
            return
        target = os.path.join(self.retired, os.path.relpath(path, self._common_dir))
        if os.path.lexists(target):
            target = self._unused()
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(path, target)

    def make_stubs(self) -> GitDir:
        """Make the stubs of one control directory, in a directory that stands for it."""
        made = GitDir(self._unused(), "")
        os.mkdir(made.path)
        write_stubs(made.path, self._shared)
        return made

    def _unused(self) -> str:
        return os.path.join(self.retired, str(next(self._numbers)))

    def remove(self) -> str | None:
        """Remove all of it.

        A file that somebody has open may stay in its directory under another name: ``.nfs*`` on
        NFS, ``.fuse_hidden*`` on FUSE. Then the directory stays as well, by a name that tells of no
        migration.

        Returns: where the rest is; None if there is none
        """
        shutil.rmtree(self._path, ignore_errors=True)
        if not self.exists():
            return None
        left = os.path.join(self._common_dir, _LEFT + secrets.token_hex(4))
        os.rename(self._path, left)
        return left

    def keep(self) -> str:
        """Let what is retired stay.

        Returns: where it is by then
        """
        kept = tempfile.mkdtemp(prefix=f"{_DIRECTORY}.", dir=self._common_dir)
        os.rename(self.retired, kept)
        self.remove()
        return kept


def settle(ref_format: str, git_dirs: Iterable[GitDir], staging: StagingDirectory) -> None:
    """Retire what does not belong to the format that the configuration says.

    Args:
      ref_format: that format
      git_dirs: the control directories
      staging: takes what is retired
    """
    for git_dir in git_dirs:
        if ref_format == "files":
            staging.retire(git_dir.file("reftable"))
        else:
            _retire_files(git_dir, staging)
            _put_stubs(git_dir, staging)


def put_reftables(git_dirs: Iterable[GitDir], staging: StagingDirectory) -> None:
    """Put prepared stacks in place; of the files, none is touched."""
    for git_dir in git_dirs:
        staging.retire(git_dir.file("reftable"))
        os.rename(git_dir.within(staging.tree).file("reftable"), git_dir.file("reftable"))


def put_files(git_dirs: Iterable[GitDir], staging: StagingDirectory) -> None:
    """Put prepared files in place; of the stacks, none is touched."""
    for git_dir in git_dirs:
        _retire_files(git_dir, staging)
        staging.retire(git_dir.file("refs", "heads"))
        prepared = git_dir.within(staging.tree)
        for name in os.listdir(prepared.path):
            if name == "refs":
                for below in os.listdir(prepared.file("refs")):
                    os.rename(prepared.file("refs", below), git_dir.file("refs", below))
            elif name != "worktrees":
                os.replace(prepared.file(name), git_dir.file(name))


def _retire_files(git_dir: GitDir, staging: StagingDirectory) -> None:
    """Retire all files of refs, but leave ``HEAD`` and, where it is a stub, ``refs/heads``."""
    os.makedirs(git_dir.file("refs"), exist_ok=True)
    for name in os.listdir(git_dir.file("refs")):
        if name != "heads" or os.path.isdir(git_dir.file("refs", name)):
            staging.retire(git_dir.file("refs", name))
    staging.retire(git_dir.file("logs"))
    if git_dir.is_main:
        staging.retire(git_dir.file("packed-refs"))
    for entry in root_files(git_dir):
        if entry.name != "HEAD":
            staging.retire(entry.path)


def _put_stubs(git_dir: GitDir, staging: StagingDirectory) -> None:
    """Put the stubs in place; ``HEAD`` is there all the time."""
    stubs = staging.make_stubs()
    os.replace(stubs.file("HEAD"), git_dir.file("HEAD"))
    os.replace(stubs.file("refs", "heads"), git_dir.file("refs", "heads"))
