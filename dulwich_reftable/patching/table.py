# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The table of all attributes of dulwich that are ever patched.

It has two sets. Some functions of dulwich bypass the repository object that they are given and use
files. They need a patch however the repository was opened: the first set is in place while a
:class:`~dulwich_reftable.Repo` on reftables is open. The second set makes dulwich's own ``Repo``
open reftable repositories, and with it everything that takes a path: porcelain, the command line,
the servers. :func:`dulwich_reftable.install` puts both in place.

Every replacement calls the original for what is not about reftables; so a files repository sees
dulwich itself.
"""

from __future__ import annotations

from ..compat import Requirement
from .patch_set import Patch, PatchSet

__all__ = ["AROUND_REPO", "STOCK"]

_BUNDLE_PARAMETERS = ("repo", "refs", "prerequisites", "version", "capabilities", "progress")

AROUND_REPO = PatchSet(
    (
        Patch(
            "dulwich.stash:Stash.__init__",
            ("self", "repo", "ref"),
            "stash:construct",
            "the stash is read from the file logs/refs/stash and dropped by rewriting that",
            relies_on=(
                Requirement("dulwich.stash:Stash.stashes", ("self",)),
                Requirement("dulwich.stash:Stash.drop", ("self", "index")),
                Requirement("dulwich.stash:Stash._repo"),
                Requirement("dulwich.stash:Stash._ref"),
            ),
        ),
        Patch(
            "dulwich.bisect:BisectState.__init__",
            ("self", "repo"),
            "bisect:construct",
            "refs/bisect/* are written, listed and read as files",
            relies_on=(
                Requirement(
                    "dulwich.bisect:BisectState.start",
                    ("self", "bad", "good", "paths", "no_checkout", "term_bad", "term_good"),
                ),
                Requirement("dulwich.bisect:BisectState.mark_bad", ("self", "rev")),
                Requirement("dulwich.bisect:BisectState.mark_good", ("self", "rev")),
                Requirement("dulwich.bisect:BisectState.skip", ("self", "revs")),
                Requirement("dulwich.bisect:BisectState.reset", ("self", "commit")),
                Requirement("dulwich.bisect:BisectState._find_next_commit", ("self",)),
            ),
            since=(0, 23, 2),
        ),
        Patch(
            "dulwich.worktree:list_worktrees",
            ("repo",),
            "worktree_list:list_all",
            "the checked-out ref is read from the file HEAD of each worktree, which is a stub",
            since=(0, 24),
        ),
        Patch(
            "dulwich.worktree:add_worktree",
            ("repo", "path", "branch", "commit", "force", "detach", "exist_ok"),
            "worktrees:add",
            "a detached HEAD is written to the file",
            since=(0, 24),
        ),
        Patch(
            "dulwich.repo:Repo._init_new_working_directory",
            ("cls", "path", "main_repo", "identifier", "mkdir"),
            "worktrees:init_new",
            "HEAD of a new worktree is written to the file, and the stock class opens it",
        ),
        Patch(
            "dulwich.porcelain:reflog",
            ("repo", "ref", "all"),
            "reflogs:show",
            "all reflogs are found by walking the directory logs",
            since=(0, 24),
        ),
        Patch(
            "dulwich.porcelain:reflog_expire",
            ("repo", "ref", "all", "expire_time", "expire_unreachable_time", "dry_run"),
            "reflogs:expire",
            "the reflog is a file, found by its path and rewritten",
            since=(0, 24, 6),
        ),
        Patch(
            "dulwich.porcelain:reflog_delete",
            ("repo", "ref", "index", "rewrite"),
            "reflogs:delete",
            "the reflog is a file, found by its path and rewritten",
            since=(0, 24, 6),
        ),
        Patch(
            "dulwich.porcelain:cherry_pick",
            ("repo", "committish", "no_commit", "continue_", "abort"),
            "cherry_pick:cherry_pick",
            "CHERRY_PICK_HEAD is written, read and removed as a file, where git does not see it",
            since=(0, 23, 1),
        ),
        Patch(
            "dulwich.gc:find_reachable_objects",
            ("object_store", "refs_container", "include_reflogs", "progress"),
            "reachability:find_reachable",
            "reflogs and other worktrees are left out, and with them objects that git needs",
            since=(0, 23),
        ),
        Patch(
            "dulwich.bundle:create_bundle_from_repo",
            _BUNDLE_PARAMETERS,
            "transfer:create_bundle",
            "the peeled value of an annotated tag, if known, is taken for the value of the ref",
            since=(0, 24),
        ),
        Patch(
            "dulwich.server:_ProtocolGraphWalker.determine_wants",
            ("self", "heads", "depth"),
            "advertising:determine_wants",
            "each ref is peeled by reading its object, and is written by itself: minutes for many",
            relies_on=(
                Requirement("dulwich.protocol:format_ref_line", ("ref", "sha", "capabilities")),
                Requirement("dulwich.protocol:symref_capabilities", ("symrefs",)),
            ),
        ),
    )
)
"""Where dulwich bypasses the repository object; each patch asks the object that it is given."""

STOCK = PatchSet(
    (
        Patch(
            "dulwich.repo:Repo.__init__",
            ("self", "root", "object_store", "bare"),
            "stock:construct",
            "it makes a container of files, or dulwich's own of reftables",
        ),
        Patch(
            "dulwich.repo:Repo.get_config",
            ("self",),
            "stock:get_config",
            "the constructor learns the format here, too late to ask HEAD for a branch",
        ),
        Patch(
            "dulwich.repo:Repo._init_maybe_bare",
            ("cls", "path", "controldir", "bare", "object_store", "config", "default_branch"),
            "stock:init",
            "new repositories have files refs, whatever format git would choose",
        ),
        Patch(
            "dulwich.reflog:iter_reflogs",
            ("logs_dir",),
            "reflogs:iterate",
            "reflogs are found by walking a directory, of which only the path is known",
            since=(0, 24),
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
            "transfer:send_pack",
            "an atomic push compares peeled values with old ids, so that tags refuse it",
            since=(1, 2),
        ),
        Patch(
            "dulwich.cli:create_bundle_from_repo",
            _BUNDLE_PARAMETERS,
            "transfer:create_bundle",
            "the command line imports the function of dulwich.bundle by its name",
            since=(0, 24),
        ),
        Patch(
            "dulwich.cli:cmd_reflog._run_expire",
            ("self", "parsed_args"),
            "reflogs:command_expire",
            "entries of this second or later survive --expire=now; in git they do not",
            since=(0, 24, 6),
        ),
        Patch(
            "dulwich.cli:cmd_bisect.run",
            ("self", "args"),
            "bisect:command_run",
            "the first bad commit is read from the file refs/bisect/bad",
            since=(0, 23, 2),
        ),
    )
)
"""What makes dulwich's own ``Repo``, and all that opens one by its path, use reftables."""
