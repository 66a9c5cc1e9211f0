# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable reflog``: show and change reflogs, with git's options."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable

from dulwich.objectspec import parse_ref
from dulwich.reflog import Entry
from dulwich.refs import Ref

from ..engine.errors import ReftableError
from ..expiry.expirer import ReflogExpirer
from ..expiry.times import expiry_time
from ..refs.container import ReftableRefsContainer
from .repository import AnyRepo, add_directory, opened, write
from .stores import store_options

__all__ = ["add_arguments", "run"]

_ACTIONS = ("show", "list", "expire", "delete", "exists")
_ENTRY = re.compile(r"(.*)@\{(\d+)\}", re.S)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The default action is show. Refs may be short names, such as main for a branch."
    )
    add_directory(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = actions.add_parser("show", help="print the entries of a ref, the newest first")
    show.add_argument("--abbrev", type=int, default=7, metavar="DIGITS", help="of object ids (7)")
    show.add_argument("-n", dest="most", type=int, default=None, help="print at most so many")
    show.add_argument("ref", nargs="?", default="HEAD", metavar="REF")
    actions.add_parser("list", help="print the names of refs that have a reflog")
    expire = actions.add_parser("expire", help="remove old entries")
    expire.add_argument(
        "--expire",
        metavar="TIME",
        help="entries before it go; never, all, or a time (gc.<pattern>.reflogExpire, "
        "gc.reflogExpire, or 90 days ago)",
    )
    expire.add_argument(
        "--expire-unreachable",
        metavar="TIME",
        help="entries before it that the ref does not reach go, too "
        "(gc.<pattern>.reflogExpireUnreachable, gc.reflogExpireUnreachable, or 30 days ago)",
    )
    expire.add_argument("--all", action="store_true", help="expire the reflogs of all worktrees")
    expire.add_argument(
        "--single-worktree", action="store_true", help="with --all, of this worktree only"
    )
    expire.add_argument(
        "--rewrite",
        action="store_true",
        help="set the old id of each entry to the new id of the entry before it",
    )
    expire.add_argument(
        "--updateref", action="store_true", help="set the ref to the new id of its newest entry"
    )
    expire.add_argument(
        "--stale-fix",
        action="store_true",
        help="also remove entries whose commits miss objects",
    )
    expire.add_argument("-n", "--dry-run", action="store_true", help="only print how many would go")
    expire.add_argument("--verbose", action="store_true", help="print each entry")
    expire.add_argument("refs", nargs="*", metavar="REF")
    delete = actions.add_parser("delete", help="remove single entries")
    delete.add_argument(
        "--rewrite",
        action="store_true",
        help="set the old id of the next newer entry to the new id of the next older one",
    )
    delete.add_argument("entries", nargs="+", metavar="REF@{N}", help="0 is the newest")
    exists = actions.add_parser("exists", help="exit with 0 if a ref has a reflog, else with 1")
    exists.add_argument("ref", metavar="REF")
    parser.set_defaults(action="show", ref="HEAD", abbrev=7, most=None)


def run(parsed: argparse.Namespace) -> int:
    with opened(directory=parsed.directory, options=store_options(parsed)) as (repo, refs):
        if parsed.action == "show":
            _show(refs, parsed.ref, parsed.abbrev, parsed.most)
        elif parsed.action == "list":
            for name in refs.reflogs():
                write(name + b"\n")
        elif parsed.action == "expire":
            _expire(repo, refs, parsed)
        elif parsed.action == "delete":
            for entry in parsed.entries:
                _delete(refs, entry, parsed.rewrite)
        elif not refs.reflog_exists(os.fsencode(parsed.ref)):
            return 1
    return 0


def _full_name(refs: ReftableRefsContainer, name: str) -> Ref:
    """Find the ref or reflog that a short name means."""
    short = os.fsencode(name)
    if refs.reflog_exists(short):
        return Ref(short)
    try:
        return parse_ref(refs, short)
    except KeyError:
        raise ReftableError(f"there is no ref or reflog '{name}'") from None


def _show(refs: ReftableRefsContainer, name: str, abbrev: int, most: int | None) -> None:
    shown = os.fsencode(name)
    for n, entry in enumerate(refs.read_reflog(_full_name(refs, name), newest_first=True)):
        if n == most:
            return
        write(b"%b %b@{%d}: %b\n" % (entry.new_sha[:abbrev], shown, n, entry.message))


def _delete(refs: ReftableRefsContainer, text: str, rewrite: bool) -> None:
    entry = _ENTRY.fullmatch(text)
    if entry is None:
        raise ReftableError(f"not an entry, such as main@{{1}}: '{text}'")
    refs.drop_reflog_entry(_full_name(refs, entry[1] or "HEAD"), int(entry[2]), rewrite)


def _expire(repo: AnyRepo, refs: ReftableRefsContainer, parsed: argparse.Namespace) -> None:
    if not parsed.all and not parsed.refs:
        raise ReftableError("name refs, or use --all")
    expirer = ReflogExpirer(
        repo,
        _limit("--expire", parsed.expire),
        _limit("--expire-unreachable", parsed.expire_unreachable),
        stale_fix=parsed.stale_fix,
        rewrite=parsed.rewrite,
        update_ref=parsed.updateref,
        dry_run=parsed.dry_run,
        tell=_teller(parsed.dry_run) if parsed.verbose else None,
    )
    names: list[bytes] = [_full_name(refs, name) for name in parsed.refs]
    if parsed.all:
        names += refs.reflogs(all_worktrees=not parsed.single_worktree)
    for name in names:
        count = expirer.expire(name)
        if count:
            went = b"would go" if parsed.dry_run else b"went"
            write(b"%b: %d %b\n" % (name, count, went))


def _teller(dry_run: bool) -> Callable[[Entry, bool], None]:
    """Make a function that prints an entry and whether it goes, as git does."""
    prune = b"would prune" if dry_run else b"prune"

    def tell(entry: Entry, goes: bool) -> None:
        write(b"%b %b\n" % (prune if goes else b"keep", entry.message))

    return tell


def _limit(option: str, text: str | None) -> int | None:
    """Read the time of an option, in seconds; older entries go."""
    try:
        return None if text is None else expiry_time(text)
    except ValueError as error:
        raise ReftableError(f"{option}: {error}") from error
