# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""porcelain's reflog commands, which look for files below ``logs/`` and rewrite them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from dulwich import gc
from dulwich.reflog import Entry
from dulwich.refs import Ref
from dulwich.repo import Repo

from ..refs import ReftableRefsContainer

__all__ = ["delete", "expire", "iterate", "show"]

_DAY = 24 * 60 * 60

RepoPath = Any
"""Whatever ``porcelain.open_repo_closing`` takes."""


def show(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Make ``porcelain.reflog``, which lists the reflogs by walking a directory."""

    @wraps(original)
    def reflog(
        repo: RepoPath = None, ref: str | bytes = b"HEAD", all: bool = False
    ) -> Iterator[Any]:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(repo) as opened:
            refs = opened.refs
            if not all or not isinstance(refs, ReftableRefsContainer):
                yield from original(opened, ref, all)
                return
            for name in refs.reflogs():
                for entry in refs.read_reflog(name):
                    yield name, entry

    return reflog


def iterate(original: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    """Make ``dulwich.reflog.iter_reflogs``, which is given the path of ``logs`` and walks it."""

    @wraps(original)
    def iter_reflogs(logs_dir: str) -> Iterator[bytes]:
        controldir = os.path.dirname(os.path.abspath(logs_dir))
        if not os.path.isdir(os.path.join(controldir, "reftable")):
            yield from original(logs_dir)
            return
        with Repo(controldir=controldir) as repo:
            if isinstance(repo.refs, ReftableRefsContainer):
                yield from repo.refs.reflogs()
            else:
                yield from original(logs_dir)

    return iter_reflogs


def expire(original: Callable[..., dict[bytes, int]]) -> Callable[..., dict[bytes, int]]:
    """Make ``porcelain.reflog_expire``, which rewrites the files."""

    @wraps(original)
    def reflog_expire(
        repo: RepoPath = None,
        ref: str | bytes | None = None,
        all: bool = False,
        expire_time: int | None = None,
        expire_unreachable_time: int | None = None,
        dry_run: bool = False,
    ) -> dict[bytes, int]:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(repo) as opened:
            if not isinstance(opened.refs, ReftableRefsContainer) or (ref is None and not all):
                return original(opened, ref, all, expire_time, expire_unreachable_time, dry_run)
            if expire_time is None and expire_unreachable_time is None:
                now = int(time.time())
                expire_time = now - 90 * _DAY
                expire_unreachable_time = now - 30 * _DAY
            names = list(opened.refs.reflogs()) if all else [_name(ref)]
            return _expire(opened, names, expire_time, expire_unreachable_time, dry_run)

    return reflog_expire


def _expire(
    repo: Repo,
    names: list[Ref],
    expire_time: int | None,
    expire_unreachable_time: int | None,
    dry_run: bool,
) -> dict[bytes, int]:
    refs = repo.refs
    assert isinstance(refs, ReftableRefsContainer)
    is_reachable: Callable[[bytes], bool] = lambda oid: True  # noqa: E731
    if expire_unreachable_time is not None:
        reachable = gc.find_reachable_objects(repo.object_store, refs, include_reflogs=False)
        is_reachable = reachable.__contains__

    def is_expired(entry: Entry) -> bool:
        limit = expire_time if is_reachable(entry.new_sha) else expire_unreachable_time
        return limit is not None and entry.timestamp < limit

    names = [name for name in names if refs.reflog_exists(name)]
    if dry_run:
        return {name: sum(map(is_expired, refs.read_reflog(name))) for name in names}
    return {
        name: refs.expire_reflog(name, expire_time, expire_unreachable_time, is_reachable)
        for name in names
    }


def delete(original: Callable[..., None]) -> Callable[..., None]:
    """Make ``porcelain.reflog_delete``, which rewrites the file."""

    @wraps(original)
    def reflog_delete(
        repo: RepoPath = None,
        ref: str | bytes = b"HEAD",
        index: int = 0,
        rewrite: bool = False,
    ) -> None:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(repo) as opened:
            refs = opened.refs
            if not isinstance(refs, ReftableRefsContainer):
                original(opened, ref, index, rewrite)
                return
            name = _name(ref)
            if not refs.reflog_exists(name):
                raise ValueError(f"No reflog for ref {name.decode()}")
            refs.drop_reflog_entry(name, index, rewrite)

    return reflog_delete


def _name(ref: str | bytes | None) -> Ref:
    assert ref is not None
    return Ref(ref.encode() if isinstance(ref, str) else ref)
