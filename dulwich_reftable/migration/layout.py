# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The files of each format in a control directory, and whether somebody has changed them.

The repository's control directory holds the shared refs and those of the main worktree. Each linked
worktree has a control directory for its own refs. The files format consists of ``HEAD`` and the
other root refs, ``refs/``, ``logs/`` and, in the repository's directory only, ``packed-refs``. The
reftable format consists of ``reftable/``, with stubs in the places of ``HEAD`` and ``refs/heads``.
A migration leaves all other files alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from ..compat.errors import RefLockedError
from ..engine.stack.stale_files import LOCK_SUFFIX
from ..naming.names import Owner, is_root_ref, place_of
from ..refs.worktrees import worktree_ids
from .report import MigrationError

__all__ = [
    "Fingerprint",
    "GitDir",
    "fingerprint",
    "git_dirs",
    "refuse_special_files",
    "root_files",
    "walk",
]


class GitDir(NamedTuple):
    """A control directory.

    Attributes:
      path: its full path
      inner: its path inside the repository's control directory: empty, or ``worktrees/<id>``
    """

    path: str
    inner: str

    @property
    def is_main(self) -> bool:
        """Whether this is the repository's own control directory."""
        return not self.inner

    def holds(self, name: bytes) -> bool:
        """Tell whether this directory holds the ref with that (legal) name."""
        return self.is_main or place_of(name).owner is Owner.CURRENT

    def file(self, *parts: str) -> str:
        """Give the path of a file in this directory."""
        return os.path.join(self.path, *parts)

    def within(self, tree: str) -> GitDir:
        """Give the counterpart of this directory in a tree with the same layout."""
        return GitDir(os.path.join(tree, self.inner) if self.inner else tree, self.inner)


def git_dirs(common_dir: str) -> list[GitDir]:
    """List the control directories of a repository: its own, then those of linked worktrees."""
    worktrees = os.path.join(common_dir, "worktrees")
    return [
        GitDir(common_dir, ""),
        *(
            GitDir(os.path.join(worktrees, name), os.path.join("worktrees", name))
            for name in worktree_ids(common_dir)
            if os.path.isdir(os.path.join(worktrees, name))
        ),
    ]


def root_files(git_dir: GitDir) -> list[os.DirEntry[str]]:
    """List the files of root refs, including ``HEAD``."""
    with os.scandir(git_dir.path) as entries:
        return sorted(
            (
                entry
                for entry in entries
                if is_root_ref(os.fsencode(entry.name)) and not entry.is_dir(follow_symlinks=False)
            ),
            key=lambda entry: entry.name,
        )


def walk(top: str, name: str) -> Iterator[tuple[bytes, os.DirEntry[str]]]:
    """Walk through a directory tree in git's order: entries by name, directories in their place.

    Args:
      top: the directory; it may be missing
      name: the prefix of the names: ``refs``, or nothing
    Yields: full name and entry of each file; symbolic links count as files
    """
    left = _listed(top, os.fsencode(name))
    while left:
        inner, entry = left.pop()
        if entry.is_dir(follow_symlinks=False):
            left += _listed(entry.path, inner)
        else:
            yield inner, entry


def _listed(directory: str, name: bytes) -> list[tuple[bytes, os.DirEntry[str]]]:
    """List a directory in reverse order of names."""
    prefix = name + b"/" if name else b""
    try:
        with os.scandir(directory) as entries:
            found = [(prefix + os.fsencode(entry.name), entry) for entry in entries]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda pair: pair[0], reverse=True)


def refuse_special_files(common_dir: str) -> None:
    """Refuse symbolic links, and anything else that is not a plain file or directory.

    A symbolic link shares refs with another repository (``git-new-workdir``), which would not learn
    of the new format. Reading a pipe would block.

    Raises:
      MigrationError: if a file or directory of refs is neither
    """
    for git_dir in git_dirs(common_dir):
        for is_right, names in (
            (os.path.isfile, ("config", "packed-refs")),
            (os.path.isdir, ("logs", "refs", "reftable")),
        ):
            for path in map(git_dir.file, names):
                if os.path.islink(path):
                    raise MigrationError(
                        f"'{path}' is a symbolic link: another repository may use it"
                    )
                if os.path.lexists(path) and not is_right(path):
                    raise MigrationError(f"'{path}' has the wrong file type")


class Fingerprint(NamedTuple):
    """Digests of the state of all ref and reflog files; they show any change.

    Attributes:
      heads: digest of the ``HEAD`` files
      others: digest of all other files; moving them to another directory does not change it
    """

    heads: bytes
    others: bytes


def fingerprint(common_dir: str, *, is_retired: bool = False) -> Fingerprint:
    """Digest the names, sizes and times of all ref and reflog files.

    Memory use does not grow with the number of files.

    Args:
      common_dir: control directory of a repository, or a directory with the same layout
      is_retired: whether the files were moved away, so that lock files no longer matter
    Raises:
      RefLockedError: if somebody holds the lock of a ref
    """
    heads, others = sha256(), sha256()
    for git_dir in git_dirs(common_dir):
        inner = os.fsencode(git_dir.inner)
        for name, entry in _ref_files(git_dir):
            found = entry.stat(follow_symlinks=False)
            if name.startswith(b"refs/") and entry.name.endswith(LOCK_SUFFIX):
                if not is_retired:
                    raise RefLockedError(entry.path, max(time.time() - found.st_mtime, 0.0), 0.0)
                continue
            digest = heads if name == b"HEAD" else others
            state = found.st_ino, found.st_size, found.st_mtime_ns
            digest.update(b"%b\0%b\0%d %d %d\n" % (inner, name, *state))
    return Fingerprint(heads.digest(), others.digest())


def _ref_files(git_dir: GitDir) -> Iterator[tuple[bytes, os.DirEntry[str]]]:
    """List the files of refs and reflogs, with their names in the control directory."""
    with os.scandir(git_dir.path) as entries:
        yield from [(b"packed-refs", entry) for entry in entries if entry.name == "packed-refs"]
    for entry in root_files(git_dir):
        yield os.fsencode(entry.name), entry
    yield from walk(git_dir.file("refs"), "refs")
    yield from walk(git_dir.file("logs"), "logs")
