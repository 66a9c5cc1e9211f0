"""One pack of many small objects, written as fast as Python can."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path

from dulwich.pack import write_pack_index_v2

from .datasets import GitObject

__all__ = ["write_pack"]

_TYPES = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}
_CHUNK = 1 << 20


def write_pack(directory: Path, count: int, objects: Iterable[GitObject]) -> None:
    """Write a pack and its index.

    Args:
      directory: of packs
      count: how many objects there are
      objects: no two of them are equal
    """
    entries = []
    checksum = sha1()
    with open(directory / "objects.tmp", "wb") as file:
        buffer = bytearray(b"PACK" + (2).to_bytes(4, "big") + count.to_bytes(4, "big"))
        start = 0
        for item in objects:
            entry = _header(_TYPES[item.kind], len(item.data)) + zlib.compress(item.data, 1)
            entries.append((item.oid, start + len(buffer), zlib.crc32(entry)))
            buffer += entry
            if len(buffer) >= _CHUNK:
                checksum.update(buffer)
                start += file.write(buffer)
                buffer.clear()
        checksum.update(buffer)
        file.write(buffer)
        file.write(checksum.digest())
    entries.sort()
    assert len(entries) == count
    name = f"pack-{checksum.hexdigest()}"
    with open(directory / f"{name}.idx", "wb") as index:
        write_pack_index_v2(index, entries, checksum.digest())
    (directory / "objects.tmp").rename(directory / f"{name}.pack")


def _header(kind: int, size: int) -> bytes:
    first, size = kind << 4 | size & 15, size >> 4
    header = bytearray()
    while size:
        header.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    header.append(first)
    return bytes(header)
