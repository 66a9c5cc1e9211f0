"""What each byte of a table is for, told by a reader of its own that follows the document.

The corruption tests need to know whether a byte that they change is *structure*, whose damage must
be noticed, or *payload* (object ids, characters of names, update indexes), which the format does
not protect. This reader shares nothing with the engine but the document, and trusts its input.
"""

from __future__ import annotations

import zlib

HEADER, FOOTER, PADDING = "header", "footer", "padding"
BLOCK_HEADER, RESTARTS, DEFLATED = "block header", "restarts", "deflated"
LENGTH, KEY, DELTA, OBJECT_ID = "length", "key", "update index", "object id"
TARGET, POSITION, COUNT = "target", "position", "count"

PAYLOAD = frozenset((KEY, DELTA, OBJECT_ID, TARGET))
"""What may change without notice, as long as order and structure hold."""


def anatomy(data: bytes) -> list[str]:
    """Label each byte of a well-formed table."""
    header_size = 24 if data[4] == 1 else 28
    end = len(data) - header_size - 44
    id_size = 32 if data[24:28] == b"s256" and data[4] == 2 else 20
    labels = [HEADER] * header_size + [PADDING] * (end - header_size)
    labels += [FOOTER] * (len(data) - end)
    position = 0
    while position < end:
        start = position or header_size
        kind = data[start]
        if not kind:  # padding
            position += 1
            continue
        length = int.from_bytes(data[start + 1 : start + 4], "big")
        _fill(labels, start, start + 4, BLOCK_HEADER)
        if kind == ord("g"):
            inflater = zlib.decompressobj()
            inflater.decompress(data[start + 4 : end])
            behind = end - len(inflater.unused_data)
            _fill(labels, start + 4, behind, DEFLATED)
        else:
            behind = position + length
            _label_records(labels, data, start + 4, behind, chr(kind), id_size)
        position = behind
    return labels


def _label_records(
    labels: list[str], data: bytes, pos: int, end: int, kind: str, id_size: int
) -> None:
    restarts = end - 2 - 3 * int.from_bytes(data[end - 2 : end], "big")
    _fill(labels, restarts, end, RESTARTS)
    while pos < restarts:
        _, pos = _varint(labels, data, pos, LENGTH)
        head, pos = _varint(labels, data, pos, LENGTH)
        pos = _fill(labels, pos, pos + (head >> 3), KEY)
        extra = head & 7
        if kind == "r":
            _, pos = _varint(labels, data, pos, DELTA)
            if extra in (1, 2):
                pos = _fill(labels, pos, pos + extra * id_size, OBJECT_ID)
            elif extra == 3:
                length, pos = _varint(labels, data, pos, LENGTH)
                pos = _fill(labels, pos, pos + length, TARGET)
        elif kind == "i":
            _, pos = _varint(labels, data, pos, POSITION)
        elif kind == "o":
            if not extra:
                extra, pos = _varint(labels, data, pos, COUNT)
            for _ in range(extra):
                _, pos = _varint(labels, data, pos, POSITION)
    assert pos == restarts


def _varint(labels: list[str], data: bytes, pos: int, label: str) -> tuple[int, int]:
    start = pos
    value = data[pos] & 0x7F
    while data[pos] & 0x80:
        pos += 1
        value = ((value + 1) << 7) | (data[pos] & 0x7F)
    return value, _fill(labels, start, pos + 1, label)


def _fill(labels: list[str], begin: int, end: int, label: str) -> int:
    labels[begin:end] = [label] * (end - begin)
    return end
