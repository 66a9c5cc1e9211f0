# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Recognize names in a tree that some file system treats as ``.git``, ``.gitmodules`` and so on.

HFS+ ignores some characters. NTFS ignores case, dots and spaces at the end, and everything after a
colon, and it has short names such as ``git~1``. The rules are git's (``is_hfs_dotgit``,
``is_ntfs_dotgit`` and related functions).
"""

from __future__ import annotations

import re

__all__ = ["is_dotgit", "is_ntfs_dotgit", "special_file"]

_PASSED_OVER = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")

_SUSPECT = re.compile(rb"git|~|mailmap|[\x80-\xff]", re.IGNORECASE)
"""All of these names match this; one search is enough for most other names."""

_NTFS_DOTGIT = re.compile(rb"(?:\.git|git~1)[. ]*(?:[\\/:]|\Z)", re.IGNORECASE)

_SHORT = {"gitmodules": "gi7eba", "gitattributes": "gi7d29"}
_SHORT |= {"gitignore": "gi250a", "mailmap": "maba30"}
"""By file, the beginning of the short name that NTFS makes if the usual one is taken."""


def _ntfs(name: str, short: str) -> re.Pattern[bytes]:
    """Make a pattern of all names that NTFS treats as a file's."""
    made_up = (f"{short[:n]}~[1-9][0-9]{{{6 - n}}}" for n in range(7))
    ways = "|".join((rf"\.{name}", f"{name[:6]}~[1-4]", *made_up))
    return re.compile(rf"(?:{ways})[. ]*(?::|\Z)".encode(), re.IGNORECASE)


_NTFS = {name: _ntfs(name, short) for name, short in _SHORT.items()}


def _as_on_hfs(name: bytes) -> str:
    """Give a name as HFS+ sees it; it ends where it is not UTF-8."""
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
