# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Building ref blocks: the hot loop of all writing.

It does what :meth:`BlockWriter.add` does for every kind of record, for as many refs as fit, in one
frame; the tests hold it against that. A call or two less a record halves the time of a bulk write.
"""

from __future__ import annotations

from collections.abc import Iterable

from .block_writer import MAX_RESTARTS, BlockWriter
from .coding import ONE_BYTE, encode_varint, shared_prefix
from .errors import RecordError
from .layout import REF
from .records import REF_VAL1, RefRecord, encode_ref

__all__ = ["RefBlockWriter"]


class RefBlockWriter(BlockWriter):
    """Collects the records of one ref block.

    Args:
      block_size: the most bytes that the block may take
      restart_interval: records between two restarts
      header: the file header, for the block that shares it
      hash_size: bytes of an object id
      bounds: the smallest and the largest update index of the table

    Attributes:
      object_ids: all that the block mentions
    """

    __slots__ = ("_bounds", "_hash_size", "object_ids")

    def __init__(
        self,
        block_size: int,
        restart_interval: int,
        header: bytes,
        hash_size: int,
        bounds: tuple[int, int],
    ) -> None:
        super().__init__(REF, block_size, restart_interval, header)
        self._hash_size = hash_size
        self._bounds = bounds
        self.object_ids: list[bytes] = []

    def add_refs(self, records: Iterable[RefRecord]) -> RefRecord | None:
        """Add records for as long as they fit.

        Args:
          records: in the order of their names
        Returns: the first that does not fit; None if all do
        Raises:
          RecordError: if one does not sort behind the one before, its update index is out of
            bounds, or its ids are of the wrong length; those before it have been added
        """
        smallest, largest = self._bounds
        hash_size, interval = self._hash_size, self._restart_interval
        restarts, add_part, add_id = self._restarts, self._parts.append, self.object_ids.append
        limit = self._block_size - 2 - 3 * len(restarts)
        size, entries, last, shared = self._size, self.entries, self.last_key, self._prefix
        encoded_index = -1
        try:
            for record in records:
                name, index, value, peeled, target = record
                if name <= last:
                    raise RecordError(f"key {name!r} does not sort behind {last!r}")
                if index != encoded_index:
                    if not smallest <= index <= largest:
                        raise RecordError(f"update index {index} of {name!r} is out of bounds")
                    delta = encode_varint(index - smallest)
                    encoded_index = index
                if value is not None:
                    if target is not None:
                        raise RecordError(f"{name!r} has both an object id and a target")
                    if len(value) != hash_size or (peeled is not None and len(peeled) != hash_size):
                        raise RecordError(f"object id of {name!r} is not {hash_size} bytes long")
                if value is None or peeled is not None:
                    value_type, encoded = encode_ref(record, smallest)
                else:
                    value_type, encoded = REF_VAL1, delta + value
                prefix = 0
                if entries % interval:
                    # Neighbours mostly share what the two before them shared.
                    prefix = shared
                    if (
                        name[:prefix] != last[:prefix]
                        or name[prefix : prefix + 1] == last[prefix : prefix + 1]
                    ):
                        prefix = shared = shared_prefix(last, name)
                head = (len(name) - prefix) << 3 | value_type
                if prefix < 0x80 and head < 0x80:
                    encoded = ONE_BYTE[prefix] + ONE_BYTE[head] + name[prefix:] + encoded
                else:
                    encoded = b"".join(
                        (encode_varint(prefix), encode_varint(head), name[prefix:], encoded)
                    )
                behind = size + len(encoded)
                if prefix or len(restarts) == MAX_RESTARTS:
                    if behind > limit:
                        return record
                else:
                    if behind + 3 > limit:
                        return record
                    limit -= 3
                    restarts.append(size)
                add_part(encoded)
                if value is not None:
                    add_id(value)
                    if peeled is not None:
                        add_id(peeled)
                size = behind
                entries += 1
                last = name
            return None
        finally:
            self._size, self.entries, self.last_key, self._prefix = size, entries, last, shared
