# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Ref names: which are legal, and whose they are: everybody's or one worktree's.

Legal is what git accepts (``git check-ref-format``), plus root refs such as ``ORIG_HEAD``. Root
refs and what is below ``refs/bisect/``, ``refs/worktree/`` and ``refs/rewritten/`` belong to one
worktree; ``main-worktree/`` and ``worktrees/<id>/`` before such a name reach across
(git: ``parse_worktree_ref``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from .errors import BadRefNameError

__all__ = [
    "FILE_REFS",
    "PER_WORKTREE",
    "Owner",
    "Place",
    "check_name",
    "collapse",
    "directory_prefix",
    "is_legal",
    "is_logged_by_default",
    "is_root_ref",
    "is_well_formed",
    "may_be_illegal",
    "place_of",
    "prefix_end",
    "ranges_below",
]

PER_WORKTREE = (b"refs/bisect/", b"refs/rewritten/", b"refs/worktree/")
"""Below these, refs belong to one worktree."""

FILE_REFS = frozenset((b"FETCH_HEAD", b"MERGE_HEAD"))
"""Names that look like root refs, but are files that hold more than an object id."""

_ODD_ROOT_REFS = frozenset(
    (
        b"AUTO_MERGE",
        b"BISECT_EXPECTED_REV",
        b"HEAD",
        b"MERGE_AUTOSTASH",
        b"NOTES_MERGE_PARTIAL",
        b"NOTES_MERGE_REF",
    )
)
_ROOT_REF = re.compile(rb"[A-Z_-]+")

_ILLEGAL = re.compile(
    rb"[\x00-\x20\x7f~^:?*\[\\]"  # control characters, blanks and what revisions are made of
    rb"|\.\.|@\{|//"
    rb"|(?:^|/)\."  # a component that begins with a dot
    rb"|\.lock(?:/|\Z)|[/.]\Z|\A/"
)

_KINDS = bytes(
    ord("A" if byte in b"/." else "!" if byte < 0x21 or byte in b"\x7f~^:?*[\\{" else "0")
    for byte in range(256)
)
"""For each byte, what it means to :func:`may_be_illegal`."""

_HARMLESS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+/"


class Owner(Enum):
    """Whose a ref is."""

    SHARED = "shared"
    CURRENT = "current"
    MAIN = "main"
    OTHER = "other"


class Place(NamedTuple):
    """Where a ref is kept.

    Attributes:
      owner: whose it is
      name: its name in that stack
      worktree: id of the worktree, for ``Owner.OTHER``
    """

    owner: Owner
    name: bytes
    worktree: bytes = b""


def is_root_ref(name: bytes) -> bool:
    """Tell whether a name is that of a root ref (git: ``is_root_ref``)."""
    if not _ROOT_REF.fullmatch(name) or name in FILE_REFS:
        return False
    return name.endswith(b"_HEAD") or name in _ODD_ROOT_REFS


def is_well_formed(name: bytes) -> bool:
    """Tell whether git bears with a name, be it of one component (``check_refname_format``)."""
    return name not in (b"", b"@") and not _ILLEGAL.search(name)


def is_legal(name: bytes) -> bool:
    """Tell whether a ref may have this name; prefixes of worktrees are none of its business."""
    if not name.startswith(b"refs/"):
        return is_root_ref(name)
    # Most names are made of harmless bytes only, which is told faster than by an expression.
    if not name.translate(None, _HARMLESS):
        return b"//" not in name and name[-1:] != b"/"
    return is_well_formed(name)


def may_be_illegal(names: Sequence[bytes]) -> bool:
    """Tell of many names below ``refs/`` at once whether one of them may be illegal.

    It costs a few nanoseconds a name, and is wrong about legal names that are rare: those with a
    brace, or a component that ends in a dot.
    """
    # Slashes and dots become capitals, and what is harmless gets no case. Text is in title case
    # unless a capital follows another one: so do "//", "..", "/.", and, as the names are joined by
    # slashes, a slash or a dot at the end of a name.
    text = b"/".join(names)
    kinds = text.translate(_KINDS)
    return (
        b"!" in kinds
        or not kinds.istitle()
        or kinds.endswith(b"A")
        or (b"." in text and b".lock" in text)
    )


def is_logged_by_default(name: bytes) -> bool:
    """Tell whether git starts a reflog for a ref, not told to otherwise, where it keeps any.

    Those are the reflogs of branches, remote-tracking branches, notes and HEAD
    (git: ``should_autocreate_reflog``).
    """
    return name == b"HEAD" or name.startswith((b"refs/heads/", b"refs/remotes/", b"refs/notes/"))


def check_name(name: bytes) -> None:
    """Refuse a name that no ref can have, in whichever worktree.

    Raises:
      BadRefNameError: if it is illegal
    """
    local = name if name.startswith(b"refs/") else place_of(name).name
    if not is_legal(local):
        raise BadRefNameError(name)


def place_of(name: bytes) -> Place:
    """Tell where a ref is kept."""
    if name.startswith(b"refs/"):
        return Place(Owner.CURRENT if name.startswith(PER_WORKTREE) else Owner.SHARED, name)
    if name.startswith(b"main-worktree/"):
        local = name[len(b"main-worktree/") :]
        if is_root_ref(local) or local.startswith(PER_WORKTREE):
            return Place(Owner.MAIN, local)
    elif name.startswith(b"worktrees/"):
        worktree, _, local = name[len(b"worktrees/") :].partition(b"/")
        if is_root_ref(local) or local.startswith(PER_WORKTREE):
            if worktree in (b"", b".", b"..") or b"\0" in worktree or b"\\" in worktree:
                raise BadRefNameError(name)
            return Place(Owner.OTHER, local, worktree)
    return Place(Owner.CURRENT, name)


def collapse(name: bytes) -> bytes:
    """Make runs of slashes one slash, as a file system would."""
    return b"/".join(part for part in name.split(b"/") if part)


def prefix_end(prefix: bytes) -> bytes | None:
    """Give the smallest name that sorts behind everything with a prefix; None for the end."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def ranges_below(prefix: bytes, excluded: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """Divide the names that begin with a prefix into ranges, without the excluded ones.

    Args:
      prefix: of the names
      excluded: prefixes; names that begin with one of them are in no range
    Yields: the first name of a range, and the name to stop before; None for the end
    """
    end = prefix_end(prefix)
    start = prefix
    for cut in sorted(set(excluded)):
        if end is not None and cut >= end:
            break
        behind = prefix_end(cut)
        if behind is not None and behind <= start:
            continue
        if cut > start:
            yield start, cut
        if behind is None or (end is not None and behind >= end):
            return
        start = behind
    yield start, end


def directory_prefix(base: bytes) -> bytes:
    """Give the prefix of the names below a base, which may end in a slash or not."""
    base = base.rstrip(b"/")
    return base + b"/" if base else b""
