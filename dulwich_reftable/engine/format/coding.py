# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The smallest pieces of the format: varint, uint24, and the length of a shared prefix.

Decoders work on ``bytes`` and a position and return the value with the position behind it. They
raise :class:`ValueError` or :class:`IndexError` on malformed input. The block knows the name of the
file, and turns either into a :class:`~dulwich_reftable.engine.errors.CorruptTableError`.
"""

from __future__ import annotations

__all__ = [
    "MAX_UINT64",
    "ONE_BYTE",
    "decode_uint24",
    "decode_varint",
    "encode_uint24",
    "encode_varint",
    "shared_prefix",
]

MAX_UINT64 = (1 << 64) - 1

ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
"""The varints of one byte, which are most of them."""


def encode_varint(value: int) -> bytes:
    """Encode an unsigned number as the ofs-delta of pack files does (format: "Varint encoding").

    Seven bits a byte, most significant first; each continuation stands for one more than its bits,
    so that every number has exactly one encoding.

    Raises:
      ValueError: if ``value`` is negative or does not fit into 64 bits
    """
    if 0 <= value < 0x80:
        return ONE_BYTE[value]
    if not 0 <= value <= MAX_UINT64:
        raise ValueError(f"{value} is not an unsigned 64 bit number")
    out = bytearray((value & 0x7F,))
    value >>= 7
    while value:
        value -= 1
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.reverse()
    return bytes(out)


def decode_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Decode a varint.

    Args:
      data: the bytes that hold it
      pos: where it begins
    Returns: the number, and the position behind it
    Raises:
      IndexError: if ``data`` ends inside of it
      ValueError: if it does not fit into 64 bits
    """
    byte = data[pos]
    pos += 1
    value = byte & 0x7F
    while byte & 0x80:
        byte = data[pos]
        pos += 1
        value = ((value + 1) << 7) | (byte & 0x7F)
        if value > MAX_UINT64:
            raise ValueError("varint exceeds 64 bits")
    return value, pos


def encode_uint24(value: int) -> bytes:
    """Encode a 3-byte number in network byte order."""
    return value.to_bytes(3, "big")


def decode_uint24(data: bytes, pos: int) -> int:
    """Decode a 3-byte number in network byte order.

    Raises:
      IndexError: if ``data`` ends inside of it
    """
    return (data[pos] << 16) | (data[pos + 1] << 8) | data[pos + 2]


def shared_prefix(a: bytes, b: bytes) -> int:
    """Count the leading bytes that two keys have in common."""
    n = min(len(a), len(b))
    # Long integers compare in C what a loop over bytes would compare in Python.
    difference = int.from_bytes(a[:n], "big") ^ int.from_bytes(b[:n], "big")
    return n - (difference.bit_length() + 7) // 8
