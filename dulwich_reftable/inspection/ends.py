# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reads header and footer of a table; if one is damaged, the other takes its place."""

from __future__ import annotations

from ..engine.errors import CorruptTableError
from ..engine.format.layout import (
    FOOTER_SIZES,
    HEADER_SIZES,
    LONGEST_HEADER,
    Buffer,
    Footer,
    Header,
)

__all__ = ["read_ends"]


def read_ends(buffer: Buffer) -> tuple[Header | None, Footer | None]:
    """Read header and footer; a footer with a correct checksum takes precedence."""
    size = len(buffer)
    header = _header_at(buffer, 0)
    for version, header_size in HEADER_SIZES.items():
        position = size - FOOTER_SIZES[version]
        if position < header_size:
            continue
        footer = Footer.decode(buffer[position:size], position)
        copy = _header_at(buffer, position)
        if copy is not None and copy.size == header_size:
            if footer.is_sound or header is None:
                return copy, footer
            if header.size == header_size:
                return header, footer
        elif header is not None and header.size == header_size:
            # The first bytes of the footer may be damaged.
            told = buffer[position + 8 : position + 24]
            if footer.is_sound or told == buffer[8:24]:
                return header, footer
    return header, None


def _header_at(buffer: Buffer, position: int) -> Header | None:
    """Read a header, or its copy in the footer; None if there is none."""
    data = buffer[position : position + LONGEST_HEADER]
    try:
        return Header.decode("", data) if len(data) == LONGEST_HEADER else None
    except CorruptTableError:
        return None
