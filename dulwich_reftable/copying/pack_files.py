# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Packs as files on the local disk: read them in pieces, check them, make them of loose objects."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from dulwich.errors import ChecksumMismatch
from dulwich.objects import ShaFile
from dulwich.pack import PackData, write_pack_objects

__all__ = ["check_files", "check_pieces", "index_again", "pieces_of", "write_pack"]

_PIECE = 1 << 20
INDEX_MAGIC = b"\xfftOc\0\0\0\2"
"""How an index in version 2 begins."""


def pieces_of(path: str) -> Iterator[bytes]:
    """Read a file in pieces."""
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def check_pieces(pieces: Iterable[bytes], name: str, object_format: Any) -> tuple[str, str]:
    """Check the checksum at the end of a pack or an index.

    Args:
      pieces: all bytes of it
      name: for the message
      object_format: of its objects
    Returns: the checksum, and the hex digits before it: in an index, the checksum of the pack
    Raises:
      ChecksumMismatch: if it is another one
    """
    digest = object_format.new_hash()
    length = digest.digest_size
    tail = b""
    for piece in pieces:
        joined = tail + piece
        cut = max(len(joined) - 2 * length, 0)
        digest.update(joined[:cut])
        tail = joined[cut:]
    before, end = tail[:-length], tail[-length:]
    digest.update(before)
    if digest.digest() != end:
        raise ChecksumMismatch(end.hex(), digest.hexdigest(), name)
    return end.hex(), before.hex()


def check_files(pack: str, index: str, object_format: Any) -> str:
    """Check a pack and its index.

    Args:
      pack: path of the pack
      index: path of the index
      object_format: of its objects
    Returns: the checksum of the pack
    Raises:
      ChecksumMismatch: if one is damaged, or they do not belong together
    """
    checksum, _ = check_pieces(pieces_of(pack), pack, object_format)
    _, of_pack = check_pieces(pieces_of(index), index, object_format)
    if of_pack != checksum:
        raise ChecksumMismatch(checksum, of_pack, index)
    return checksum


def index_again(pack: str, index: str, object_format: Any) -> None:
    """Make the index of a pack, in version 2."""
    with PackData(pack, object_format=object_format) as data:
        data.create_index(index, version=2)


def write_pack(objects: Iterable[ShaFile], folder: str, object_format: Any) -> tuple[str, str]:
    """Make a pack of objects, without deltas: the same objects give the same pack.

    Args:
      objects: which
      folder: where
      object_format: of the objects
    Returns: the paths of the pack and of its index
    """
    pack, index = os.path.join(folder, "loose.pack"), os.path.join(folder, "loose.idx")
    with open(pack, "wb") as file:
        write_pack_objects(
            file,
            [(found, None) for found in objects],
            object_format=object_format,
        )
    index_again(pack, index, object_format)
    return pack, index
