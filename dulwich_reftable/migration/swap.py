# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Swaps the formats: puts prepared files into place, and retires those of the other format.

The repository's configuration says which format counts; git does not read the files of the other
one. So the swap is one step, the rename of the new configuration over the old one:

* before it, the files of the new format are put into place, where nobody reads them yet;
* after it, the files of the old format are retired, because nobody reads them any more.

A migration that dies on the way leaves a complete repository, and remains of the other format. To
*settle* a format is to retire these remains. It can be repeated at any time: it ends every
migration, undoes one that failed, and finishes one that was killed.

Git recognizes a control directory by ``HEAD`` and ``refs/``. Both formats have them, and neither is
missing at any time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from functools import partial
from itertools import count

from ..config.permissions import SharedMode
from ..engine.stack import files
from ..repo.stubs import write_stubs
from .layout import GitDir, root_files

__all__ = ["StagingDirectory", "put_files", "put_reftables", "settle"]

_DIRECTORY = "ref_migration"
_LEFT = f"{_DIRECTORY}.removed."


class StagingDirectory:
    """The directory that holds the prepared files, and the retired ones.

    It exists until the migration is over. Without it, there are no remains of a migration.

    Args:
      common_dir: the repository's control directory
      shared: mode of new files; None leaves it to the umask

    Attributes:
      tree: directory of the prepared files, with the layout of a control directory
      retired: directory of the retired files, with the same layout
    """

    def __init__(self, common_dir: str, shared: SharedMode | None) -> None:
        self._common_dir = common_dir
        self._path = os.path.join(common_dir, _DIRECTORY)
        self._shared = shared
        self._numbers = count()
        self.tree = os.path.join(self._path, "new")
        self.retired = ""

    def exists(self) -> bool:
        """Tell whether a migration is under way, or was interrupted."""
        return os.path.lexists(self._path)

    def create(self) -> None:
        """Make the directory, or take over an existing one; remove what earlier migrations left."""
        for name in os.listdir(self._common_dir):
            if name.startswith(_LEFT):
                shutil.rmtree(os.path.join(self._common_dir, name), ignore_errors=True)
        os.makedirs(self.tree, exist_ok=True)
        self.retired = tempfile.mkdtemp(prefix="old.", dir=self._path)

    def retire(self, path: str) -> None:
        """Move a file or directory to the retired ones, if it exists."""
        if not os.path.lexists(path):
            return
        target = os.path.join(self.retired, os.path.relpath(path, self._common_dir))
        if os.path.lexists(target):
            target = self._unused()
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(path, target)

    def make_stubs(self) -> GitDir:
        """Make the stubs of a control directory, in a directory of their own."""
        made = GitDir(self._unused(), "")
        os.mkdir(made.path)
        write_stubs(made.path, self._shared)
        return made

    def _unused(self) -> str:
        return os.path.join(self.retired, str(next(self._numbers)))

    def remove(self) -> str | None:
        """Remove the directory.

        A removed file that somebody has open may stay under another name: ``.nfs*`` on NFS,
        ``.fuse_hidden*`` on FUSE. Then the directory stays as well, and is renamed so that it does
        not look like a migration.

        Returns: the path of the rest; None if nothing is left
        """
        shutil.rmtree(self._path, ignore_errors=True)
        if not self.exists():
            return None
        left = os.path.join(self._common_dir, _LEFT + secrets.token_hex(4))
        try:
            os.rename(self._path, left)
        except PermissionError:
            if not files.IS_WINDOWS:
                raise
            return self._path  # the next migration settles once more
        return left

    def keep(self) -> str:
        """Keep the retired files; remove the rest of the directory.

        Returns: the directory that holds the retired files now
        """
        kept = os.path.join(self._common_dir, f"{_DIRECTORY}.{secrets.token_hex(4)}")
        os.rename(self.retired, kept)
        self.remove()
        return kept


def settle(ref_format: str, git_dirs: Iterable[GitDir], staging: StagingDirectory) -> list[str]:
    """Retire the files that do not belong to the repository's format.

    Args:
      ref_format: the format, as the configuration says
      git_dirs: the control directories
      staging: takes the retired files
    Returns: the paths of those that cannot be moved, because somebody has them open on Windows; the
      next migration retires them
    """
    left = []
    for git_dir in git_dirs:
        if ref_format == "files":
            steps = [partial(staging.retire, git_dir.file("reftable"))]
        else:
            steps = [
                *(partial(staging.retire, path) for path in _files_of(git_dir)),
                partial(_put_stubs, git_dir, staging),
            ]
        for step in steps:
            try:
                step()
            except PermissionError as error:
                if not files.IS_WINDOWS:
                    raise
                left.append(str(error.filename))
    return left


def put_reftables(git_dirs: Iterable[GitDir], staging: StagingDirectory) -> None:
    """Put prepared stacks into place; files of refs are not touched."""
    for git_dir in git_dirs:
        staging.retire(git_dir.file("reftable"))
        os.rename(git_dir.within(staging.tree).file("reftable"), git_dir.file("reftable"))


def put_files(git_dirs: Iterable[GitDir], staging: StagingDirectory) -> None:
    """Put prepared files into place; stacks are not touched."""
    for git_dir in git_dirs:
        for path in _files_of(git_dir):
            staging.retire(path)
        staging.retire(git_dir.file("refs", "heads"))
        prepared = git_dir.within(staging.tree)
        for name in os.listdir(prepared.path):
            if name == "refs":
                for below in os.listdir(prepared.file("refs")):
                    os.rename(prepared.file("refs", below), git_dir.file("refs", below))
            elif name != "worktrees":
                os.replace(prepared.file(name), git_dir.file(name))


def _files_of(git_dir: GitDir) -> list[str]:
    """Name all files of refs, but not ``HEAD``, nor ``refs/heads`` if it is a stub."""
    os.makedirs(git_dir.file("refs"), exist_ok=True)
    paths = [
        git_dir.file("refs", name)
        for name in os.listdir(git_dir.file("refs"))
        if name != "heads" or os.path.isdir(git_dir.file("refs", name))
    ]
    paths.append(git_dir.file("logs"))
    if git_dir.is_main:
        paths.append(git_dir.file("packed-refs"))
    return paths + [entry.path for entry in root_files(git_dir) if entry.name != "HEAD"]


def _put_stubs(git_dir: GitDir, staging: StagingDirectory) -> None:
    """Put the stubs into place; ``HEAD`` is replaced, so that it is never missing."""
    stubs = staging.make_stubs()
    os.replace(stubs.file("HEAD"), git_dir.file("HEAD"))
    os.replace(stubs.file("refs", "heads"), git_dir.file("refs", "heads"))
