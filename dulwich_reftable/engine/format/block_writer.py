# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Building one block: prefix compression, restarts, and whether one more record fits.

Equal records have to make equal files, so the rules are git's (``reftable/block.c``): a restart at
every
``restart_interval``-th record *and* wherever two neighbours share nothing; a record fits if it
and the restart table behind it stay within the block size, counted before deflating.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from ..errors import RecordError
from .coding import ONE_BYTE, encode_uint24, encode_varint, shared_prefix
from .layout import LOG

__all__ = ["MAX_RESTARTS", "BlockWriter", "Encoded"]

MAX_RESTARTS = (1 << 16) - 1

Encoded = tuple[bytes, int, bytes]
"""A record: its key, its three bits of type, its encoded value."""


_SHORT = 8
"""Bytes of keys, such as those of objects, that a loop compares faster than a function."""


class BlockWriter:
    """Collects the records of one block.

    Args:
      kind: block type
      block_size: maximum bytes of the block, before deflating
      restart_interval: records between two restarts
      header: the file header, for the block that shares it

    Attributes:
      last_key: key of the record added last
      entries: how many records there are
    """

    __slots__ = (
        "_block_size",
        "_header",
        "_parts",
        "_prefix",
        "_restart_interval",
        "_restarts",
        "_size",
        "entries",
        "kind",
        "last_key",
    )

    def __init__(
        self, kind: int, block_size: int, restart_interval: int, header: bytes = b""
    ) -> None:
        self.kind = kind
        self.last_key = b""
        self.entries = 0
        self._block_size = block_size
        self._restart_interval = restart_interval
        self._header = header
        self._size = len(header) + 4
        self._prefix = 0  # what the last two keys shared
        self._parts: list[bytes] = []
        self._restarts: list[int] = []

    def add(self, key: bytes, extra: int, value: bytes) -> bool:
        """Add a record if it fits.

        Args:
          key: its key, larger than the one before
          extra: its three bits of type
          value: its encoded value
        Returns: False if it does not fit; the block is then as it was
        Raises:
          RecordError: if the key is not larger
        """
        return self.add_many(((key, extra, value),)) is None

    def add_many(self, records: Iterable[Encoded]) -> Encoded | None:
        """Add records for as long as they fit; this is the hot loop of all writing.

        Args:
          records: key, type and value of each, as for :meth:`add`
        Returns: the first that does not fit; None if all do
        Raises:
          RecordError: if a key is not larger than the one before; the records before it are in
        """
        interval = self._restart_interval
        restarts, add_part = self._restarts, self._parts.append
        limit = self._block_size - 2 - 3 * len(restarts)
        size, entries, last, shared = self._size, self.entries, self.last_key, self._prefix
        other = 0  # what two keys shared before that, if not the same
        try:
            for encoded in records:
                key, extra, value = encoded
                if key <= last:
                    raise RecordError(f"key {key!r} does not sort behind {last!r}")
                prefix = 0
                if entries % interval:
                    # Neighbours mostly share as much as the two records before them; if these are
                    # patch sets of one change, as much as those before the change.
                    prefix = shared
                    if (
                        key[:prefix] != last[:prefix]
                        or key[prefix : prefix + 1] == last[prefix : prefix + 1]
                    ):
                        if key[0] != last[0]:
                            prefix = 0  # the next ones share what those before did
                        elif len(key) <= _SHORT:
                            prefix = 1
                            while key[prefix : prefix + 1] == last[prefix : prefix + 1]:
                                prefix += 1
                            shared = prefix
                        else:
                            prefix = other
                            if (
                                key[:prefix] != last[:prefix]
                                or key[prefix : prefix + 1] == last[prefix : prefix + 1]
                            ):
                                prefix = shared_prefix(last, key)
                            other, shared = shared, prefix
                head = (len(key) - prefix) << 3 | extra
                if prefix < 0x80 and head < 0x80:
                    record = ONE_BYTE[prefix] + ONE_BYTE[head] + key[prefix:] + value
                else:
                    record = encode_varint(prefix) + encode_varint(head) + key[prefix:] + value
                behind = size + len(record)
                if prefix or len(restarts) == MAX_RESTARTS:
                    if behind > limit:
                        return encoded
                else:
                    if behind + 3 > limit:
                        return encoded
                    limit -= 3
                    restarts.append(size)
                add_part(record)
                size = behind
                entries += 1
                last = key
            return None
        finally:
            self._size, self.entries, self.last_key, self._prefix = size, entries, last, shared

    def finish(self) -> bytes:
        """Give the block's bytes, without padding; with the file header if it shares it."""
        parts = self._parts
        parts.extend(encode_uint24(offset) for offset in self._restarts)
        parts.append(len(self._restarts).to_bytes(2, "big"))
        length = self._size + 3 * len(self._restarts) + 2
        body = b"".join(parts)
        if self.kind == LOG:
            body = zlib.compress(body, 9)
        return b"".join((self._header, bytes((self.kind,)), encode_uint24(length), body))
