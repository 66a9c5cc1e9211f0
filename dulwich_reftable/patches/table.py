# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``install()``: stock dulwich handles reftable repositories through us.

Here is the table of all attributes of dulwich that are ever replaced. It has two parts. Where
dulwich goes around a repository object to files, the first part is needed for whatever opened the
repository, and is in place while a :class:`~dulwich_reftable.Repo` on reftables is open. The
second makes dulwich's own ``Repo`` open reftable repositories, and with it all that takes a path:
porcelain, the command line, the servers. :func:`install` puts both in place.

Every replacement passes on to the original what is not about reftables; so what files
repositories see is dulwich itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import cherry_pick, reachability, reflogs, stock, transfer, worktrees
from .bisect import ReftableBisectState, command_run
from .patch_set import Patch, PatchSet
from .stash import ReftableStash
from .subclassing import reclassing_constructor

__all__ = ["AROUND_REPO", "STOCK", "install", "installed", "uninstall"]

AROUND_REPO = PatchSet(
    (
        Patch(
            "dulwich.stash:Stash.__init__",
            ("self", "repo", "ref"),
            reclassing_constructor(ReftableStash),
            "the stash is read from the file logs/refs/stash and dropped by rewriting that",
            relies_on=(
                ("dulwich.stash:Stash.stashes", ("self",)),
                ("dulwich.stash:Stash.drop", ("self", "index")),
            ),
        ),
        Patch(
            "dulwich.bisect:BisectState.__init__",
            ("self", "repo"),
            reclassing_constructor(ReftableBisectState),
            "refs/bisect/* are written, listed and read as files",
            relies_on=(
                (
                    "dulwich.bisect:BisectState.start",
                    ("self", "bad", "good", "paths", "no_checkout", "term_bad", "term_good"),
                ),
                ("dulwich.bisect:BisectState.mark_bad", ("self", "rev")),
                ("dulwich.bisect:BisectState.mark_good", ("self", "rev")),
                ("dulwich.bisect:BisectState.skip", ("self", "revs")),
                ("dulwich.bisect:BisectState.reset", ("self", "commit")),
                ("dulwich.bisect:BisectState._find_next_commit", ("self",)),
            ),
        ),
        Patch(
            "dulwich.worktree:list_worktrees",
            ("repo",),
            worktrees.list_all,
            "what is checked out is read from each worktree's file HEAD, which is a stub",
        ),
        Patch(
            "dulwich.worktree:add_worktree",
            (
                "repo",
                "path",
                "branch",
                "commit",
                "force",
                "detach",
                "exist_ok",
                "relative_paths",
            ),
            worktrees.add,
            "a detached HEAD is written to the file",
        ),
        Patch(
            "dulwich.repo:Repo._init_new_working_directory",
            ("cls", "path", "main_repo", "identifier", "mkdir", "relative_paths"),
            worktrees.init_new,
            "HEAD of a new worktree is written to the file, and the stock class opens it",
        ),
        Patch(
            "dulwich.porcelain:reflog",
            ("repo", "ref", "all"),
            reflogs.show,
            "all reflogs are found by walking the directory logs",
        ),
        Patch(
            "dulwich.porcelain:reflog_expire",
            ("repo", "ref", "all", "expire_time", "expire_unreachable_time", "dry_run"),
            reflogs.expire,
            "the reflog is a file, found by its path and rewritten",
        ),
        Patch(
            "dulwich.porcelain:reflog_delete",
            ("repo", "ref", "index", "rewrite"),
            reflogs.delete,
            "the reflog is a file, found by its path and rewritten",
        ),
        Patch(
            "dulwich.porcelain:cherry_pick",
            ("repo", "committish", "no_commit", "continue_", "abort"),
            cherry_pick.cherry_pick,
            "CHERRY_PICK_HEAD is written, read and removed as a file, where git does not see it",
        ),
        Patch(
            "dulwich.gc:find_reachable_objects",
            ("object_store", "refs_container", "include_reflogs", "progress"),
            reachability.find_reachable,
            "reflogs and other worktrees are left out, and with them objects that git needs",
        ),
        Patch(
            "dulwich.bundle:create_bundle_from_repo",
            ("repo", "refs", "prerequisites", "version", "capabilities", "progress"),
            transfer.create_bundle,
            "the peeled value of an annotated tag, if known, is taken for its own",
        ),
    )
)
"""Where dulwich goes around a repository object; each asks the object that it is given."""

STOCK = PatchSet(
    (
        Patch(
            "dulwich.repo:Repo.__init__",
            (
                "self",
                "root",
                "object_store",
                "bare",
                "controldir",
                "commondir",
                "worktree",
                "object_directory",
                "alternates",
                "index_file",
            ),
            stock.construct,
            "it makes a container of files, or dulwich's own of reftables",
            relies_on=(
                ("dulwich.repo:Repo.close", ("self",)),
                ("dulwich.repo:Repo.get_named_file", ("self", "path", "basedir")),
                ("dulwich.repo:Repo._put_named_file", ("self", "path", "contents")),
                ("dulwich.repo:Repo._del_named_file", ("self", "path")),
                ("dulwich.repo:Repo.read_reflog", ("self", "ref")),
                (
                    "dulwich.repo:Repo._write_reflog",
                    (
                        "self",
                        "ref",
                        "old_sha",
                        "new_sha",
                        "committer",
                        "timestamp",
                        "timezone",
                        "message",
                    ),
                ),
                (
                    "dulwich.repo:BaseRepo._change_object_format",
                    ("self", "object_format_name"),
                ),
                (
                    "dulwich.repo:BaseRepo._init_files",
                    (
                        "self",
                        "bare",
                        "symlinks",
                        "format",
                        "shared_repository",
                        "object_format",
                    ),
                ),
            ),
        ),
        Patch(
            "dulwich.repo:Repo.get_config",
            ("self",),
            stock.get_config,
            "it is where the constructor learns the format, too late to ask HEAD for a branch",
        ),
        Patch(
            "dulwich.repo:Repo._init_maybe_bare",
            (
                "cls",
                "path",
                "controldir",
                "bare",
                "object_store",
                "config",
                "default_branch",
                "symlinks",
                "format",
                "shared_repository",
                "object_format",
            ),
            stock.init,
            "new repositories are files ones, whatever git is told to make",
        ),
        Patch(
            "dulwich.reflog:iter_reflogs",
            ("logs_dir",),
            reflogs.iterate,
            "reflogs are found by walking a directory, for whoever knows its path alone",
        ),
        Patch(
            "dulwich.client:LocalGitClient.send_pack",
            (
                "self",
                "path",
                "update_refs",
                "generate_pack_data",
                "progress",
                "push_options",
                "atomic",
            ),
            transfer.send_pack,
            "an atomic push compares peeled values with old ids, so that tags refuse it",
        ),
        Patch(
            "dulwich.cli:create_bundle_from_repo",
            ("repo", "refs", "prerequisites", "version", "capabilities", "progress"),
            transfer.create_bundle,
            "the command line has dulwich.bundle's function under a name of its own",
        ),
        Patch(
            "dulwich.cli:cmd_reflog._run_expire",
            ("self", "parsed_args"),
            reflogs.command_expire,
            "what was logged this second or later outlives --expire=now, which git has go, too",
        ),
        Patch(
            "dulwich.cli:cmd_bisect.run",
            ("self", "args"),
            command_run,
            "the first bad commit is read from the file refs/bisect/bad",
        ),
    )
)
"""What makes dulwich's own ``Repo``, and all that opens one by its path, find our reftables."""


class _Holder:
    """Somebody who needs the replacements."""


_INSTALLED = _Holder()
_lock = threading.Lock()


def install() -> None:
    """Let all of dulwich handle reftable repositories through us; harmless when done already.

    Names that other modules have imported from dulwich before, such as ``from dulwich.porcelain
    import reflog_expire``, stay what they were; ``Repo`` and all other classes do not mind.

    Raises:
      UnsupportedDulwichError: if this dulwich is not as expected; then nothing was replaced
    """
    _hold(_INSTALLED)


def uninstall() -> None:
    """Undo :func:`install`; harmless when there was none.

    A :class:`~dulwich_reftable.Repo` that somebody has opened keeps the replacements that are
    about it until it is closed.
    """
    _release(_INSTALLED)


@contextmanager
def installed() -> Iterator[None]:
    """Have it installed for a while; may be nested, and used by several threads.

    Raises:
      UnsupportedDulwichError: as :func:`install`
    """
    holder = _Holder()
    _hold(holder)
    try:
        yield
    finally:
        _release(holder)


def _hold(holder: _Holder) -> None:
    with _lock:
        STOCK.check()  # before the first replacement of the other part
        AROUND_REPO.hold(holder)
        STOCK.hold(holder)


def _release(holder: _Holder) -> None:
    with _lock:
        STOCK.release(holder)
        AROUND_REPO.release(holder)
