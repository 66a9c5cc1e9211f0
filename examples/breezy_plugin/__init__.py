# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A plugin for Breezy (https://www.breezy-vcs.org/): its git repositories may have reftables.

Breezy has a refs container of its own, which knows files only and finds no refs in such a
repository. The plugin registers a prober that goes before Breezy's. It takes local repositories
that have reftables, and nothing else; they are opened as Breezy does it, and then get a container
of dulwich-reftable. Try it with this directory::

    BRZ_PLUGINS_AT=reftable@$PWD/examples/breezy_plugin brz log path/to/repository

or copy the directory to ``~/.config/breezy/plugins/reftable``. Repositories that Breezy makes
(``brz init --git``) and lightweight checkouts still have files.
"""

from breezy.controldir import ControlDirFormat
from breezy.errors import NotBranchError, NotLocalUrl
from breezy.git import LocalGitProber
from breezy.lock import LogicalLockResult
from dulwich.errors import NotGitRepository

import dulwich_reftable as dr


class ReftableProber(LocalGitProber):
    """Finds local git repositories that have reftables."""

    @classmethod
    def priority(cls, transport):
        """Go before Breezy's own prober, which takes all git repositories."""
        return super().priority(transport) - 1

    def probe_transport(self, transport):
        """Return the format of a repository.

        Raises:
          NotBranchError: if there is none, or it has no reftables; other probers are asked next
        """
        found = super().probe_transport(transport)
        try:
            path = transport.local_abspath(".")
            with dr.Repo(path) as repo:
                has_reftables = isinstance(repo.refs, dr.ReftableRefsContainer)
        except (NotLocalUrl, NotGitRepository, dr.ReftableError):
            has_reftables = False
        if not has_reftables:
            raise NotBranchError(path=transport.base)
        return _with_reftables(type(found))()

    @classmethod
    def known_formats(cls):
        """Return nothing that Breezy's prober has not told already."""
        return []


def _with_reftables(kind):
    """Make a format whose repositories get a container of ours when they are opened."""

    class ReftableFormat(kind):
        """A git repository with reftables."""

        def open(self, transport, _found=None):
            """Open it as Breezy does, and change the container."""
            directory = super().open(transport, _found)
            directory._git.refs = open_refs(transport.local_abspath("."))
            return directory

    return ReftableFormat


def open_refs(path):
    """Open the refs of a repository, with the three methods that Breezy's container adds.

    Breezy locks a ref while it works on a branch. A lock of reftables is one of all refs, and is
    held by each update as long as it takes; so here, as in git, a branch is not locked in between.
    """
    refs = dr.Repo(path).refs

    def get(name, default=None):
        try:
            return refs[name]
        except KeyError:
            return default

    refs.get = get
    refs.lock_ref = lambda name: LogicalLockResult(lambda: None)
    refs.unlock_ref = lambda name: None
    return refs


ControlDirFormat.register_prober(ReftableProber)
