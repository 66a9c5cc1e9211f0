# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Helpers that subcommands share: open the repository, find objects by name, write bytes."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Union, cast

from dulwich.objects import ObjectID, ShaFile
from dulwich.objectspec import AmbiguousShortId, parse_object, parse_ref, scan_for_short_id
from dulwich.reflog import Entry
from dulwich.refs import HEADREF, SymrefLoop

from ..compat import approximate_time, hex_size_of
from ..engine.errors import ConfigurationError, ReftableError
from ..refs.container import ReftableRefsContainer
from ..refs.transaction import is_zero
from ..repo.repo import Repo
from .discovery import find_repository
from .stores import add_store_options, is_store_url, local_cache

if TYPE_CHECKING:
    from ..bucket.repo import BucketRepo

__all__ = [
    "AnyRepo",
    "add_directory",
    "add_repository",
    "object_id",
    "opened",
    "printable",
    "write",
]

_HEX = frozenset(b"0123456789abcdefABCDEF")
_SHORTEST = 4  # digits of an abbreviated id, as in git
_LOGGED = re.compile(rb"(.*?)@\{(?!(?:-\d+|u|upstream|push)\})([^}]*)\}(.*)", re.S)
"""Ref, reflog entry and rest of a revision; ``@{-1}`` and ``@{upstream}`` are others."""

_LONGEST_NUMBER = 8  # digits of an entry's number; with more digits it is a time

_WHERE = (
    "a directory in the repository (the current one, or as GIT_DIR says), or a URL such as "
    "s3://bucket/path"
)

AnyRepo = Union[Repo, "BucketRepo"]
"""A repository on disk, or in an object store."""


def add_repository(
    parser: argparse.ArgumentParser, metavar: str = "REPO", what: str = _WHERE
) -> None:
    """Add the argument ``repository``; without it, the repository is found as git finds it."""
    add_store_options(parser)
    parser.add_argument("repository", nargs="?", metavar=metavar, help=what)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the option ``-C``, for commands whose arguments are refs."""
    parser.add_argument(
        "-C", dest="directory", default=os.curdir, metavar="DIR",
        help="run as if in that directory, or on the repository of a URL such as s3://bucket/path",
    )  # fmt: skip
    add_store_options(parser)


@contextmanager
def opened(
    path: str | None = None,
    directory: str = os.curdir,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[tuple[AnyRepo, ReftableRefsContainer]]:
    """Open the repository that contains a directory, that a URL names, or that git would use.

    Args:
      path: the directory, or the URL of a repository in an object store; the environment is
        ignored. None to find the repository as git does
      directory: the directory in which the command runs; or such a URL
      options: of the object store, with a URL
    Yields: the repository and its refs
    Raises:
      NotGitRepository: if there is no repository
      ConfigurationError: if the environment or the repository's configuration is wrong
      ReftableError: if the repository's refs are in another format
    """
    place = directory if path is None else path
    if is_store_url(place):
        from ..bucket.repo import BucketRepo

        with BucketRepo(place, cache=local_cache(), **options) as stored:
            yield stored, stored.refs
        return
    if options:
        raise ConfigurationError("--store-option needs the URL of a repository in an object store")
    found = Repo.discover(path) if path is not None else find_repository(directory, os.environ)
    with cast(Repo, found) as repo:
        if not isinstance(repo.refs, ReftableRefsContainer):
            raise ReftableError(f"the refs of {repo.path} are not in the reftable format")
        yield repo, repo.refs


def object_id(repo: AnyRepo, name: bytes) -> bytes | None:
    """Find an object by name.

    Args:
      repo: the repository
      name: a full hex object id, whether the object exists or not; a full or short ref name; an
        abbreviated id; a reflog entry; or a revision in dulwich's syntax
    Returns: the hex object id; None if the name is not known
    """
    if len(name) == hex_size_of(repo) and _HEX.issuperset(name):
        return name.lower()
    try:
        return repo.refs[parse_ref(repo.refs, name)]
    except (KeyError, ValueError, ReftableError):
        pass
    logged = _LOGGED.fullmatch(name)
    if logged is not None:
        return _logged_id(repo, *logged.groups())
    try:
        if len(name) >= _SHORTEST and _HEX.issuperset(name):
            return ObjectID(scan_for_short_id(repo.object_store, name.lower(), ShaFile).id)
    except (KeyError, ValueError, AmbiguousShortId):
        return None
    return _parsed(repo, name)


def _logged_id(repo: AnyRepo, name: bytes, which: bytes, rest: bytes) -> bytes | None:
    """Find an object by a reflog entry, as in ``main@{1}`` or ``@{yesterday}~2``.

    Without a ref it is the reflog of the current branch, or of a detached HEAD, as in git.
    """
    refs = cast(ReftableRefsContainer, repo.refs)
    try:
        ref = parse_ref(refs, name) if name else refs.follow(HEADREF)[0][-1]
    except (KeyError, ValueError, ReftableError, SymrefLoop):
        return None
    entries = refs.read_reflog(ref, newest_first=True)
    if which.isdigit() and len(which) <= _LONGEST_NUMBER:
        oid = _numbered(entries, int(which))
    else:
        try:
            oid = _at_time(entries, approximate_time(which))
        except ValueError:
            return None
    return _parsed(repo, oid + rest) if rest and oid is not None else oid


def _numbered(entries: Iterable[Entry], number: int) -> bytes | None:
    """Give the new id of an entry, counted from the newest; behind the oldest, its old id."""
    last: Entry | None = None
    for at, entry in enumerate(entries):
        if at == number:
            return ObjectID(entry.new_sha)
        last = entry if at == number - 1 else None
    return None if last is None or is_zero(last.old_sha) else ObjectID(last.old_sha)


def _at_time(entries: Iterable[Entry], time: int) -> bytes | None:
    """Give the id of a ref at a time; before the oldest entry, its old id."""
    oid: bytes | None = None
    for entry in entries:
        if entry.timestamp <= time:
            return ObjectID(entry.new_sha)
        oid = entry.new_sha if is_zero(entry.old_sha) else entry.old_sha
    return oid


def _parsed(repo: AnyRepo, name: bytes) -> bytes | None:
    """Find an object by a revision in dulwich's syntax."""
    try:
        return ObjectID(parse_object(cast(Repo, repo), name).id)
    except (KeyError, ValueError, AmbiguousShortId, NotImplementedError):
        return None
    except AssertionError:  # in old versions, from the object store: this is no id
        return None


def printable(data: bytes | str) -> str:
    """Make any bytes printable on one line, with escapes."""
    raw = data if isinstance(data, bytes) else os.fsencode(data)
    text = raw.decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def write(data: bytes) -> None:
    """Write bytes to standard output."""
    sys.stdout.buffer.write(data)
