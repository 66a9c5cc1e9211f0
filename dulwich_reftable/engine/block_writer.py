# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Building one block: prefix compression, restarts, and the question whether a record still fits.

When to put a restart and when a block is full decide over every byte that follows. The rules are
git's (``reftable/block.c``), so that equal records make equal files: a restart at every
``restart_interval``-th record *and* wherever two neighbours share nothing; a record fits if it
and the restart table behind it stay within the block size, counted before deflating.
"""

from __future__ import annotations

import zlib

from .coding import ONE_BYTE as _ONE_BYTE
from .coding import encode_uint24, encode_varint, shared_prefix
from .layout import LOG

__all__ = ["MAX_RESTARTS", "BlockWriter"]

MAX_RESTARTS = (1 << 16) - 1


class BlockWriter:
    """Collects the records of one block.

    Args:
      kind: block type
      block_size: the most bytes that the block may take, before deflating
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
        """
        prefix = 0
        if self.entries % self._restart_interval:
            # Neighbours mostly share what the two before them shared, which is quickly seen.
            prefix, last = self._prefix, self.last_key
            if not (
                key[:prefix] == last[:prefix]
                and key[prefix : prefix + 1] != last[prefix : prefix + 1]
            ):
                prefix = self._prefix = shared_prefix(last, key)
        head = (len(key) - prefix) << 3 | extra
        record = b"".join(
            (
                _ONE_BYTE[prefix] if prefix < 0x80 else encode_varint(prefix),
                _ONE_BYTE[head] if head < 0x80 else encode_varint(head),
                key[prefix:] if prefix else key,
                value,
            )
        )
        size = self._size + len(record)
        restarts = self._restarts
        is_restart = not prefix and len(restarts) < MAX_RESTARTS
        if size + 3 * (len(restarts) + is_restart) + 2 > self._block_size:
            return False
        if is_restart:
            restarts.append(self._size)
        self._parts.append(record)
        self._size = size
        self.last_key = key
        self.entries += 1
        return True

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
