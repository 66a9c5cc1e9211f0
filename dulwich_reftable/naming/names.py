# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Ref names: which are legal, and whether they are shared or belong to one worktree.

Legal names are those that git accepts (``git check-ref-format``), and root refs such as
``ORIG_HEAD``. Root refs and refs below ``refs/bisect/``, ``refs/worktree/`` and ``refs/rewritten/``
belong to one worktree. With ``main-worktree/`` or ``worktrees/<id>/`` before it, such a name is
that of another worktree's ref (git: ``parse_worktree_ref``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from ..compat.errors import BadRefNameError

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
"""The class of each byte, for :func:`may_be_illegal`."""

_HARMLESS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+/"


class Owner(Enum):
    """The stack that a ref belongs to: the shared one, or that of a worktree."""

    SHARED = "shared"
    CURRENT = "current"
    MAIN = "main"
    OTHER = "other"


class Place(NamedTuple):
    """Where a ref is kept.

    Attributes:
      owner: which stack it belongs to
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
    """Tell whether git accepts a name, also of one component (``check_refname_format``)."""
    return name not in (b"", b"@") and not _ILLEGAL.search(name)


def is_legal(name: bytes) -> bool:
    """Tell whether a ref in a stack may have this name; it has no prefix of a worktree there."""
    if not name.startswith(b"refs/"):
        return is_root_ref(name)
    # Most names consist of harmless bytes only; this check is faster than the expression.
    if not name.translate(None, _HARMLESS):
        return b"//" not in name and name[-1:] != b"/"
    return is_well_formed(name)


def may_be_illegal(names: Sequence[bytes]) -> bool:
    """Tell whether one of many names below ``refs/`` may be illegal.

    It costs a few nanoseconds a name. It answers True for some rare legal names, too: those with a
    brace, or with a component that ends in a dot.
    """
    # Slashes and dots become capitals, and harmless bytes become digits, which have no case. The
    # text is in title case unless a capital follows another one. That is so for "//", ".." and
    # "/.", and for a slash or a dot at the end of a name, as slashes join the names.
    text = b"/".join(names)
    kinds = text.translate(_KINDS)
    return (
        b"!" in kinds
        or not kinds.istitle()
        or kinds.endswith(b"A")
        or (b"." in text and b".lock" in text)
    )


def is_logged_by_default(name: bytes) -> bool:
    """Tell whether git starts a reflog for a ref where ``core.logAllRefUpdates`` is true.

    It does so for branches, remote-tracking branches, notes and HEAD
    (git: ``should_autocreate_reflog``).
    """
    return name == b"HEAD" or name.startswith((b"refs/heads/", b"refs/remotes/", b"refs/notes/"))


def check_name(name: bytes) -> None:
    """Check that a ref of this or another worktree may have a name.

    Raises:
      BadRefNameError: if it is illegal
    """
    local = name if name.startswith(b"refs/") else place_of(name).name
    if not is_legal(local):
        raise BadRefNameError(name)


def place_of(name: bytes) -> Place:
    """Tell where a ref is kept.

    Raises:
      BadRefNameError: if the name is one of a worktree with an impossible id
    """
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
    """Leave out empty components, as a file system would."""
    return b"/".join(part for part in name.split(b"/") if part)


def prefix_end(prefix: bytes) -> bytes | None:
    """Give the smallest name after all names with a prefix; None if there is none."""
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
