# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Apply the deltas of a pack from an untrusted sender.

The format is git's (``Documentation/gitformat-pack``, "Deltified representation"): two sizes, then
instructions that copy from the base or insert bytes. A few bytes of instructions can describe
gigabytes. So the result never grows beyond the size that the delta announces, and the caller has
compared that size with its limit.
"""

from __future__ import annotations

from collections import OrderedDict

from ..errors import PackError

__all__ = ["MAX_SIZES", "BaseCache", "apply_delta", "delta_sizes"]

MAX_SIZES = 20
"""The most bytes that the two sizes of a delta can take."""


def delta_sizes(delta: bytes) -> tuple[int, int, int]:
    """Read the two sizes at the beginning of a delta.

    Args:
      delta: at least its first :data:`MAX_SIZES` bytes
    Returns: size of the base, size of the result, and where the instructions begin
    Raises:
      PackError: if it does not begin with two sizes
    """
    position = 0
    sizes = []
    for _ in range(2):
        size = shift = 0
        while True:
            if position >= len(delta) or shift > 63:
                raise PackError("a delta does not begin with two sizes")
            byte = delta[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes.append(size)
    return sizes[0], sizes[1], position


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """Apply a delta.

    Args:
      base: content of the base object
      delta: sizes and instructions
    Returns: the result, of the size that the delta announces
    Raises:
      PackError: if it is malformed, or made for another base
    """
    base_size, size, position = delta_sizes(delta)
    if base_size != len(base):
        raise PackError("a delta was made for a base of another size")
    source = memoryview(base)
    result = bytearray()
    end = len(delta)
    try:
        while position < end:
            code = delta[position]
            position += 1
            if code & 0x80:
                offset = length = 0
                for bit in range(4):
                    if code & (1 << bit):
                        offset |= delta[position] << (8 * bit)
                        position += 1
                for bit in range(3):
                    if code & (0x10 << bit):
                        length |= delta[position] << (8 * bit)
                        position += 1
                length = length or 0x10000
                piece = source[offset : offset + length]
            elif code:
                length = code
                piece = memoryview(delta)[position : position + length]
                position += length
            else:
                raise PackError("a delta has an unknown instruction")
            if len(piece) != length or len(result) + length > size:
                raise PackError("a delta copies more than there is, or more than it announces")
            result += piece
    except IndexError:
        raise PackError("a delta ends within an instruction") from None
    if len(result) != size:
        raise PackError("a delta makes less than it announces")
    return bytes(result)


class BaseCache:
    """Keeps the contents of objects that deltas were made from, the latest ones.

    Args:
      size: the most bytes to keep; a larger object is not kept
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, number: int) -> bytes | None:
        """Give the content of an object, by its number in the pack; None if it is not kept."""
        return self._kept.get(number)

    def put(self, number: int, data: bytes) -> None:
        """Keep the content of an object, and drop the least recently put ones."""
        if number in self._kept:
            self._kept.move_to_end(number)
        elif len(data) <= self._size:
            self._kept[number] = data
            self._bytes += len(data)
            while self._bytes > self._size:
                self._bytes -= len(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop all objects."""
        self._kept.clear()
        self._bytes = 0
