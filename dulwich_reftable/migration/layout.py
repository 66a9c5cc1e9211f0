# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which files of a control directory belong to which format, and whether they have changed.

The control directory of the repository holds the shared refs and the main worktree's own; that of
each linked worktree its own. In the files format that is ``HEAD`` and the other root refs,
``packed-refs`` (of the repository only), ``refs/`` and ``logs/``; in the other one ``reftable/``,
and stubs in the places of ``HEAD`` and ``refs/heads``. Everything else is no business of ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from ..engine.stack.stale_files import LOCK_SUFFIX
from ..refs.errors import RefLockedError
from ..refs.names import Owner, is_root_ref, place_of
from ..refs.store import worktree_ids
from .report import MigrationError

__all__ = [
    "Fingerprint",
    "GitDir",
    "fingerprint",
    "git_dirs",
    "refuse_oddities",
    "root_files",
    "walk",
]


class GitDir(NamedTuple):
    """A control directory.

    Attributes:
      path: where it is
      inner: its path within that of the repository: empty, or ``worktrees/<id>``
    """

    path: str
    inner: str

    @property
    def is_main(self) -> bool:
        """Whether it is the repository's own."""
        return not self.inner

    def holds(self, name: bytes) -> bool:
        """Tell whether a ref with a legal name is kept here."""
        return self.is_main or place_of(name).owner is Owner.CURRENT

    def file(self, *parts: str) -> str:
        """Give the path of a file in it."""
        return os.path.join(self.path, *parts)

    def within(self, tree: str) -> GitDir:
        """Give the directory that stands for this one in a tree that is laid out alike."""
        return GitDir(os.path.join(tree, self.inner) if self.inner else tree, self.inner)


def git_dirs(common_dir: str) -> list[GitDir]:
    """Find the control directories of a repository: its own first, then the linked worktrees'."""
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
    """Find the files of root refs, ``HEAD`` among them."""
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
    """Walk through a directory, as git does: entries by name, each directory where it stands.

    Args:
      top: a directory, which need not exist
      name: that it has among refs: ``refs``, or nothing
    Yields: full name and entry of everything that is no directory; links are not followed
    """
    left = _listed(top, os.fsencode(name))
    while left:
        inner, entry = left.pop()
        if entry.is_dir(follow_symlinks=False):
            left += _listed(entry.path, inner)
        else:
            yield inner, entry


def _listed(directory: str, name: bytes) -> list[tuple[bytes, os.DirEntry[str]]]:
    """List a directory, last name first."""
    prefix = name + b"/" if name else b""
    try:
        with os.scandir(directory) as entries:
            found = [(prefix + os.fsencode(entry.name), entry) for entry in entries]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda pair: pair[0], reverse=True)


def refuse_oddities(common_dir: str) -> None:
    """Refuse what is no plain file or directory where one has to be.

    A symbolic link there shares refs with another repository (``git-new-workdir``), which would
    not know of the new format; and a pipe would keep us waiting.

    Raises:
      MigrationError: if there is such a thing
    """
    for git_dir in git_dirs(common_dir):
        for is_right, names in (
            (os.path.isfile, ("config", "packed-refs")),
            (os.path.isdir, ("logs", "refs", "reftable")),
        ):
            for path in map(git_dir.file, names):
                if os.path.islink(path):
                    raise MigrationError(f"'{path}' is a symbolic link: it may be another's, too")
                if os.path.lexists(path) and not is_right(path):
                    raise MigrationError(f"'{path}' is not what it should be")


class Fingerprint(NamedTuple):
    """What would betray a change of refs and reflogs in files.

    Attributes:
      heads: sum of the files ``HEAD``
      others: sum of all others; it is the same when they have been moved to another directory
    """

    heads: bytes
    others: bytes


def fingerprint(common_dir: str, *, is_retired: bool = False) -> Fingerprint:
    """Sum up the files that hold refs and reflogs, in order to see whether anybody changes one.

    It takes no memory to speak of, however many files there are.

    Args:
      common_dir: control directory of a repository, or one that is laid out like it
      is_retired: whether nobody can lock refs there any more
    Raises:
      RefLockedError: if somebody is about to change a ref
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
    """Find the files of refs and reflogs, each with its name in the control directory."""
    with os.scandir(git_dir.path) as entries:
        yield from [(b"packed-refs", entry) for entry in entries if entry.name == "packed-refs"]
    for entry in root_files(git_dir):
        yield os.fsencode(entry.name), entry
    yield from walk(git_dir.file("refs"), "refs")
    yield from walk(git_dir.file("logs"), "logs")
