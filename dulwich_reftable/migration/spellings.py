# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Names that are one name to the file system, or that it does not keep.

Where case makes no difference, refs that differ in case would share a file, and directories that
do would share a spelling. Some file systems do not tell Unicode forms of a letter apart either. A
probe finds out. Others change a name silently: Windows drops a dot at the end of a component, and
finds a device under the name ``nul`` in every directory. So what was created is listed afterwards.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from unicodedata import normalize

__all__ = ["Spellings", "folds", "missing_from"]

_NAME = "\N{LATIN SMALL LETTER E WITH ACUTE}"


class Spellings:
    """The names so far, with all directories on the way to them.

    Args:
      folds_case: whether case makes no difference
      folds_forms: whether the Unicode forms of a letter make none
    """

    def __init__(self, *, folds_case: bool, folds_forms: bool) -> None:
        self._folds_case = folds_case
        self._folds_forms = folds_forms
        self._seen: dict[str, bytes] = {}
        self._last_parent = b""

    def find(self, name: bytes) -> bytes | None:
        """Take in a name.

        Returns: an earlier name, or a directory of one, that is the same to the file system as this
          name or a directory of it, but is spelled otherwise; None if there is none
        """
        parent = name.rpartition(b"/")[0]
        if parent != self._last_parent:
            at = name.find(b"/")
            while at >= 0:
                other = self._take_in(name[:at])
                if other is not None:
                    return other
                at = name.find(b"/", at + 1)
            self._last_parent = parent
        return self._take_in(name)

    def _take_in(self, path: bytes) -> bytes | None:
        seen = self._seen.setdefault(self._folded(path), path)
        return None if seen == path else seen

    def _folded(self, path: bytes) -> str:
        text = os.fsdecode(path)
        if self._folds_forms:
            text = normalize("NFD", text)
        if self._folds_case:
            text = text.casefold()
        return normalize("NFD", text) if self._folds_forms else text


def folds(directory: str) -> dict[str, bool]:
    """Ask a file system what makes no difference between names.

    Args:
      directory: an existing one on it
    Returns: the arguments of :class:`Spellings`; none if all names are different
    """
    with tempfile.TemporaryDirectory(dir=directory) as place:
        try:
            with open(os.path.join(place, _NAME), "xb"):
                pass
            found = {
                "folds_case": os.path.lexists(os.path.join(place, _NAME.upper())),
                "folds_forms": os.path.lexists(os.path.join(place, normalize("NFD", _NAME))),
            }
        except (OSError, UnicodeError):  # nothing but ASCII
            with open(os.path.join(place, "a"), "xb"):
                pass
            found = {
                "folds_case": os.path.lexists(os.path.join(place, "A")),
                "folds_forms": False,
            }
    return found if any(found.values()) else {}


def missing_from(directory: str, created: Iterable[str]) -> Iterator[str]:
    """Find the files that a directory does not list under their names.

    Args:
      directory: where they were created, themselves or in directories of it
      created: their paths
    Yields: the paths of those that are missing
    """
    there: set[str] = set()
    for place, _, names in os.walk(directory):
        there.update(normalize("NFC", os.path.join(place, name)) for name in names)
    for path in created:
        if normalize("NFC", path) not in there:
            yield path
