# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Names in a tree that some file system takes for ``.git``, ``.gitmodules`` and their like.

HFS+ passes over some characters; NTFS ignores letters' case, dots and spaces at the end, and what
follows a colon, and it has short names such as ``git~1``. What counts as which name is git's
(``is_hfs_dotgit`` and ``is_ntfs_dotgit`` with their relatives).
"""

from __future__ import annotations

import re

__all__ = ["is_dotgit", "is_ntfs_dotgit", "special_file"]

_PASSED_OVER = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")

_SUSPECT = re.compile(rb"git|~|mailmap|[\x80-\xff]", re.IGNORECASE)
"""What any of these names has in it: most names are done with after one search."""

_NTFS_DOTGIT = re.compile(rb"(?:\.git|git~1)[. ]*(?:[\\/:]|\Z)", re.IGNORECASE)

_SHORT = {"gitmodules": "gi7eba", "gitattributes": "gi7d29"}
_SHORT |= {"gitignore": "gi250a", "mailmap": "maba30"}
"""How the names that NTFS makes up begin if the usual short name is taken, by file."""


def _ntfs(name: str, short: str) -> re.Pattern[bytes]:
    """Make a pattern of the names that NTFS takes for a file's."""
    made_up = (f"{short[:n]}~[1-9][0-9]{{{6 - n}}}" for n in range(7))
    ways = "|".join((rf"\.{name}", f"{name[:6]}~[1-4]", *made_up))
    return re.compile(rf"(?:{ways})[. ]*(?::|\Z)".encode(), re.IGNORECASE)


_NTFS = {name: _ntfs(name, short) for name, short in _SHORT.items()}


def _as_on_hfs(name: bytes) -> str:
    """Give a name as HFS+ sees it; what is no UTF-8 ends it."""
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        text = name[: error.start].decode()
    return _PASSED_OVER.sub("", text).lower()


def is_ntfs_dotgit(name: bytes) -> bool:
    """Tell whether NTFS takes a name for ``.git``."""
    return _NTFS_DOTGIT.match(name) is not None


def is_dotgit(name: bytes) -> bool:
    """Tell whether a file system takes a name for ``.git``, a part behind a backslash included."""
    if _SUSPECT.search(name) is None:
        return False
    if any(is_ntfs_dotgit(name[at:]) for at in _parts(name)):
        return True
    seen = _as_on_hfs(name)
    return seen == ".git" or seen.startswith(".git/")


def special_file(name: bytes) -> str | None:
    """Tell which file of git's a file system takes a name for.

    Args:
      name: of an entry of a tree
    Returns: ``"gitmodules"``, ``"gitattributes"``, ``"gitignore"``, ``"mailmap"`` or None
    """
    if _SUSPECT.search(name) is None:
        return None
    seen = _as_on_hfs(name).partition("/")[0]
    for special, pattern in _NTFS.items():
        if seen == f".{special}" or pattern.match(name):
            return special
    ntfs = _NTFS["gitmodules"]
    return "gitmodules" if any(ntfs.match(name[at:]) for at in _parts(name)) else None


def _parts(name: bytes) -> list[int]:
    """Give where a name begins, and each part of it behind a backslash."""
    return [0, *(found.end() for found in re.finditer(rb"\\", name))]
