# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The names of packs in a bucket."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PREFIX", "PackName"]

PREFIX = "objects/pack"
"""Where packs are in a bucket."""


class PackName(NamedTuple):
    """The name of a pack: what it holds, and which upload of that it is.

    Attributes:
      checksum: the hex checksum at the end of the pack
      nonce: a random word; no two uploads share a name, so one can be removed without a look at
        whether somebody has uploaded the same again
    """

    checksum: str
    nonce: str

    def __str__(self) -> str:
        return f"pack-{self.checksum}-{self.nonce}"

    @property
    def pack_key(self) -> str:
        """The key of the pack's own object."""
        return f"{PREFIX}/{self}.pack"

    @property
    def index_key(self) -> str:
        """The key of its index."""
        return f"{PREFIX}/{self}.idx"

    @property
    def mark_key(self) -> str:
        """The key of the mark that says since when the pack is retired."""
        return f"{PREFIX}/{self}.retired"

    @classmethod
    def parse(cls, stem: str, hex_length: int) -> PackName | None:
        """Read a name; None if it is none.

        Args:
          stem: of a key, without its directory and its suffix
          hex_length: digits of a checksum
        """
        head, _, rest = stem.partition("-")
        checksum, _, nonce = rest.partition("-")
        is_hex = not checksum.strip("0123456789abcdef")
        if head == "pack" and is_hex and len(checksum) == hex_length and nonce:
            return cls(checksum, nonce)
        return None
