# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a copy did, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..engine.errors import ReftableError

__all__ = ["Copy", "CopyError", "Progress"]

Progress = Callable[[str, int, "int | None"], object]
"""Takes the phase (``"packs"`` or ``"checks"``), the bytes that are done, and their total number.
"""


class CopyError(ReftableError):
    """The repository was not copied: the destination is no repository, or an older copy."""


@dataclass
class Copy:
    """What a copy did.

    Attributes:
      packs: how many packs were sent
      present: how many packs were there already
      refs: how many refs the copy has
      reflogs: how many reflogs it has
      entries: how many reflog entries it has
      notes: what was left behind, one sentence each
    """

    packs: int = 0
    present: int = 0
    refs: int = 0
    reflogs: int = 0
    entries: int = 0
    notes: list[str] = field(default_factory=list)
