# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What has to be there, listed by the part of this package that needs it.

Parameters are those of the installed version: a name that came later is in the list from that
version on. What :func:`dulwich_reftable.install` replaces is listed in
:mod:`dulwich_reftable.patching.table`.
"""

from __future__ import annotations

from .requirement import Requirement, UnsupportedDulwichError, is_older, version_text

__all__ = ["CONTAINER", "PARTS_SINCE", "REPO", "SERVER", "check_version"]


def _since(version: tuple[int, ...], *names: str) -> tuple[str, ...]:
    """Give the names of parameters if the installed dulwich has them."""
    return () if is_older(version) else names


CONTAINER = (
    Requirement(
        "dulwich.config:ConfigDict._values",
        why="a GitConfigFile shares them with the file that dulwich has read",
    ),
    Requirement(
        "dulwich.refs:RefsContainer._check_refname",
        ("self", "name"),
        "the container overrides it: all checks of names are the same",
        exact=True,
    ),
    Requirement(
        "dulwich.refs:RefsContainer._log",
        ("self", "ref", "old_sha", "new_sha", "committer", "timestamp", "timezone", "message"),
        "the container reports each update to the logger that it was given",
    ),
    Requirement(
        "dulwich.refs:RefsContainer._logger",
        why="the container sets it: NamespacedRefsContainer reads it, and _log",
    ),
)
"""Checked when the package is imported."""

REPO = (
    Requirement(
        "dulwich.repo:_set_filesystem_hidden",
        ("path",),
        "Repo.init hides .git on Windows, as dulwich's does",
    ),
    Requirement(
        "dulwich.repo:Repo._get_config_condition_matchers",
        ("self",),
        "Repo.get_config_stack reads files that are included on a condition",
        since=(0, 23, 1),
    ),
    Requirement(
        "dulwich.repo:Repo._init_maybe_bare",
        (
            *("cls", "path", "controldir", "bare", "object_store", "config", "default_branch"),
            *("symlinks", *_since((0, 23), "format")),
            *_since((0, 25), "shared_repository", "object_format"),
        ),
        "Repo overrides it: init and init_bare call it to make a repository",
    ),
    Requirement(
        "dulwich.repo:BaseRepo._init_files",
        (
            *("self", "bare", "symlinks", *_since((0, 23), "format")),
            *_since((0, 25), "shared_repository", "object_format"),
        ),
        "Repo overrides it: it writes the configuration of a new repository",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:BaseRepo._change_object_format",
        ("self", "object_format_name"),
        "Repo overrides it: a clone takes the hash of what it clones",
        exact=True,
        since=(0, 25),
    ),
    Requirement(
        "dulwich.repo:Repo._write_reflog",
        ("self", "ref", "old_sha", "new_sha", "committer", "timestamp", "timezone", "message"),
        "Repo overrides it: it adds a reflog entry",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo._put_named_file",
        ("self", "path", "contents"),
        "Repo overrides it: dulwich writes some refs as files by this",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo._del_named_file",
        ("self", "path"),
        "Repo overrides it: dulwich removes some refs as files by this",
        exact=True,
    ),
    Requirement(
        "dulwich.repo:Repo.get_named_file",
        ("self", "path", "basedir"),
        "Repo overrides it: dulwich reads some refs as files by this",
    ),
    Requirement(
        "dulwich.repo:Repo.read_reflog",
        ("self", "ref"),
        "Repo overrides it: the entries are in the tables",
        since=(0, 24),
    ),
    Requirement(
        "dulwich.repo:Repo.get_config",
        why="Repo overrides it: the constructor calls it, and so selects the refs container",
    ),
    Requirement(
        "dulwich.repo:Repo.close", ("self",), "Repo overrides it: it closes the tables, too"
    ),
)
"""Checked when ``Repo`` is imported."""

_HANDLER = ("self", "backend", "args", "proto", "stateless_rpc", "advertise_refs")

SERVER = (
    *(
        Requirement(
            f"dulwich.server:{handler}.{name}",
            parameters,
            why,
            exact=True,
        )
        for handler in ("UploadPackHandler", "ReceivePackHandler")
        for name, parameters, why in (
            ("__init__", _HANDLER, "our handlers call it, and dulwich's servers call them so"),
            ("capabilities", ("self",), "our handlers override it: they offer what they can do"),
            ("handle", ("self",), "our handlers override it: dulwich's servers call it"),
        )
    ),
    Requirement(
        "dulwich.server:UploadPackHandler.required_capabilities",
        ("cls",),
        "our handler overrides it: packs have offset deltas",
        exact=True,
    ),
    Requirement(
        "dulwich.server:PackHandler.set_client_capabilities",
        ("self", "caps"),
        "our handlers override it: they refuse with a message for the client",
        exact=True,
    ),
    Requirement(
        "dulwich.server:PackHandler.has_capability",
        ("self", "cap"),
        "our handlers ask it what the client can do",
    ),
    Requirement(
        "dulwich.server:Backend.open_repository",
        ("self", "path"),
        "our folder of repositories overrides it",
        exact=True,
    ),
    Requirement(
        "dulwich.protocol:Protocol.write_sideband",
        ("self", "channel", "blob"),
        "our connection overrides it: it writes in large pieces",
        exact=True,
    ),
)
"""Checked when the server is imported."""

PARTS_SINCE = {"bucket": (1, 2, 13), "server": (1, 2, 13)}
"""The oldest dulwich that a part of this package runs with, where it is not that of all."""


def check_version(part: str) -> None:
    """Check that a part of this package can run with the installed dulwich.

    Args:
      part: one of :data:`PARTS_SINCE`; it calls this when it is imported
    Raises:
      UnsupportedDulwichError: if dulwich is too old
    """
    since = PARTS_SINCE[part]
    if is_older(since):
        raise UnsupportedDulwichError(
            f"dulwich_reftable.{part}", f"it needs dulwich {version_text(since)} or newer"
        )
