# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reflog commands; dulwich's look for files below ``logs/`` and rewrite them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from dulwich.refs import Ref
from dulwich.repo import Repo

from ..compat import THIS_REPOSITORY, open_control_dir
from ..expiry.expirer import ReflogExpirer
from ..expiry.times import expiry_time
from ..refs.container import ReftableRefsContainer

__all__ = ["command_expire", "delete", "expire", "iterate", "show"]

RepoPath = Any
"""An argument of ``porcelain.open_repo_closing``: a repository or a path."""


def show(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Patch ``porcelain.reflog``, which finds reflogs by walking a directory."""

    @wraps(original)
    def reflog(
        repo: RepoPath = THIS_REPOSITORY, ref: str | bytes = b"HEAD", all: bool = False
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
    """Patch ``dulwich.reflog.iter_reflogs``, which takes the path of ``logs`` and walks it."""

    @wraps(original)
    def iter_reflogs(logs_dir: str) -> Iterator[bytes]:
        controldir = os.path.dirname(os.path.abspath(logs_dir))
        if not os.path.isdir(os.path.join(controldir, "reftable")):
            yield from original(logs_dir)
            return
        with open_control_dir(Repo, controldir) as repo:
            if isinstance(repo.refs, ReftableRefsContainer):
                yield from repo.refs.reflogs()
            else:
                yield from original(logs_dir)

    return iter_reflogs


def expire(original: Callable[..., dict[bytes, int]]) -> Callable[..., dict[bytes, int]]:
    """Patch ``porcelain.reflog_expire``, which rewrites the files.

    A limit of None means the one of the configuration, or else git's default.
    """

    @wraps(original)
    def reflog_expire(
        repo: RepoPath = THIS_REPOSITORY,
        ref: str | bytes | None = None,
        all: bool = False,
        expire_time: int | None = None,
        expire_unreachable_time: int | None = None,
        dry_run: bool = False,
    ) -> dict[bytes, int]:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(repo) as opened:
            refs = opened.refs
            if not isinstance(refs, ReftableRefsContainer) or (ref is None and not all):
                return original(opened, ref, all, expire_time, expire_unreachable_time, dry_run)
            expirer = ReflogExpirer(opened, expire_time, expire_unreachable_time, dry_run=dry_run)
            names = list(refs.reflogs(all_worktrees=True)) if all else [_name(ref)]
            return {name: expirer.expire(name) for name in names if refs.reflog_exists(name)}

    return reflog_expire


def command_expire(original: Callable[..., None]) -> Callable[..., None]:
    """Patch ``dulwich reflog expire``, which understands fewer times than git.

    It takes "now" for the current second; in git it means that all entries expire.
    """

    @wraps(original)
    def run_expire(self: object, parsed_args: argparse.Namespace) -> None:
        from dulwich.porcelain import open_repo_closing

        with open_repo_closing(THIS_REPOSITORY) as repo:
            if isinstance(repo.refs, ReftableRefsContainer):
                for option in ("expire", "expire_unreachable"):
                    text = getattr(parsed_args, option)
                    if text:
                        setattr(parsed_args, option, str(expiry_time(text)))
        original(self, parsed_args)

    return run_expire


def delete(original: Callable[..., None]) -> Callable[..., None]:
    """Patch ``porcelain.reflog_delete``, which rewrites the file."""

    @wraps(original)
    def reflog_delete(
        repo: RepoPath = THIS_REPOSITORY,
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
