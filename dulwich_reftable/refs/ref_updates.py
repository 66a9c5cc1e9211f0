# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The ref updates of a transaction, as its caller gave them.

A transaction may have very many updates, and most of these say the same few things: point a ref at
an object, and expect a value or none. Such a *plain* update is kept as one ``bytes`` object, the
ids in binary, and becomes a :class:`RefUpdate` when it is looked at.
"""

from __future__ import annotations

from binascii import a2b_hex, b2a_hex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .signature import Signature

__all__ = ["PlainUpdate", "RefUpdate", "RefUpdates", "is_object_id"]

_HEX = b"0123456789abcdef"

_Key = bytes | tuple[bytes, bool]
"""The name of a ref; with False, if the update does not follow a symref."""


def is_object_id(value: bytes, hex_size: int) -> bool:
    """Tell whether a value is a hex object id; it may be the zero id.

    Args:
      value: of a ref
      hex_size: digits of an object id
    """
    return len(value) == hex_size and not value.translate(None, _HEX)


@dataclass(slots=True)
class RefUpdate:
    """One update of a ref: its new value, and the value that it is expected to have before.

    Values are text: hex object id, ``b"ref: <target>"``, or None for "no such ref".

    Attributes:
      name: of the ref
      new: value to set; None deletes the ref
      expects: whether ``old`` is checked
      old: expected value
      follow: whether a symref is followed, and the ref at the end of the chain updated
      signature: for the reflog entry; None to write none
      verify_only: whether the ref is only checked
      old_is_resolved: whether an object id as ``old`` is expected at the end of a symref's chain
    """

    name: bytes
    new: bytes | None
    expects: bool
    old: bytes | None
    follow: bool
    signature: Signature | None
    verify_only: bool = False
    old_is_resolved: bool = False


class PlainUpdate:
    """How a plain update is kept: the new id, and behind it what is expected.

    ====================  ==================================
    length                expectation
    ====================  ==================================
    that of an id         there is no such ref
    one byte more         none
    twice that of an id   the old id, which stands behind
    ====================  ==================================
    """

    @staticmethod
    def pack(new: bytes, old: bytes | None, hex_size: int) -> bytes | None:
        """Pack an update.

        Args:
          new: value to set
          old: value that is expected; None to expect none, the zero id for "no such ref"
          hex_size: digits of an object id
        Returns: None if one of the values is no object id, or ``new`` is the zero id
        """
        digits = new if old is None else new + old
        if (
            len(new) != hex_size
            or len(digits) != hex_size * (1 if old is None else 2)
            or digits.translate(None, _HEX)
            or not new.strip(b"0")
        ):
            return None
        if old is None:
            return a2b_hex(new) + b"\0"
        return a2b_hex(digits if old.strip(b"0") else new)

    @staticmethod
    def expectation(packed: bytes, size: int) -> tuple[bool, bytes | None]:
        """Give whether a value is expected, and which: a binary id, or None for "no such ref".

        Args:
          packed: the update
          size: bytes of an object id
        """
        return len(packed) != size + 1, packed[size:] if len(packed) == 2 * size else None


class RefUpdates(Collection[RefUpdate]):
    """The updates, in the order in which they were added.

    Args:
      signature: that of plain updates; None to write no reflog entries
      hex_size: digits of an object id
    """

    def __init__(self, signature: Signature | None, hex_size: int) -> None:
        self.signature = signature
        self._hex_size = hex_size
        self._updates: dict[_Key, bytes | RefUpdate] = {}
        self._others = 0  # how many of them are not plain

    def add_plain(self, name: bytes, packed: bytes) -> bool:
        """Add a plain update; see :class:`PlainUpdate`.

        Returns: whether it is the first one of its ref
        """
        updates = self._updates
        if name in updates:
            return False
        updates[name] = packed
        return True

    def add(self, update: RefUpdate) -> bool:
        """Add an update of any kind.

        Returns: whether it is the first one of its ref
        """
        key: _Key = update.name if update.follow else (update.name, False)
        if key in self._updates:
            return False
        self._updates[key] = update
        self._others += 1
        return True

    def plain(self) -> Mapping[bytes, bytes] | None:
        """Give all updates by their names, if all are plain; else None."""
        if self._others:
            return None
        return MappingProxyType(self._updates)  # type: ignore[arg-type]

    def names(self) -> Collection[bytes]:
        """Give the names of all refs; one may come twice."""
        plain = self.plain()
        if plain is not None:
            return plain.keys()
        return [key if isinstance(key, bytes) else key[0] for key in self._updates]

    def discard(self, names: Collection[bytes]) -> None:
        """Forget the updates of some refs."""
        for name in names:
            for key in (name, (name, False)):
                update = self._updates.pop(key, None)
                self._others -= isinstance(update, RefUpdate)

    def clear(self) -> None:
        """Forget all updates."""
        self._updates = {}
        self._others = 0

    def __len__(self) -> int:
        return len(self._updates)

    def __contains__(self, update: object) -> bool:
        return any(update == other for other in self)

    def __iter__(self) -> Iterator[RefUpdate]:
        size = self._hex_size // 2
        for key, update in self._updates.items():
            if isinstance(update, RefUpdate):
                yield update
            elif isinstance(key, bytes):
                expects, old = PlainUpdate.expectation(update, size)
                old = None if old is None else b2a_hex(old)
                yield RefUpdate(key, b2a_hex(update[:size]), expects, old, True, self.signature)
