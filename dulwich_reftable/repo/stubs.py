# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Stubs: files by which old tools know a repository, and which keep them from writing refs."""

from __future__ import annotations

import os

from dulwich.file import GitFile

from ..config.permissions import SharedMode

__all__ = ["write_stubs"]

_STUBS = {
    "HEAD": b"ref: refs/heads/.invalid\n",
    os.path.join("refs", "heads"): b"this repository uses the reftable format\n",
}
"""The paths of the stubs below a control directory, and their contents."""


def write_stubs(controldir: str, shared: SharedMode | None) -> None:
    """Put the stubs in place, in the repository's control directory or in a worktree's.

    Args:
      controldir: the control directory
      shared: mode of the files; None to leave it to the umask
    """
    refs = os.path.join(controldir, "refs")
    if not os.path.isdir(refs):
        os.mkdir(refs)
        if shared is not None:
            shared.adjust(refs)
    for name in ("heads", "tags"):
        directory = os.path.join(refs, name)
        if os.path.isdir(directory):
            os.rmdir(directory)
    for name, contents in _STUBS.items():
        path = os.path.join(controldir, name)
        with GitFile(path, "wb") as file:
            file.write(contents)
        if shared is not None:
            shared.adjust(path)
