# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The connection to a client, as all services see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dulwich.protocol import ReceivableProtocol

__all__ = ["Connection"]


class Connection(ReceivableProtocol):
    """A connection whose output may be buffered.

    Args:
      recv: takes a number of bytes, and reads at most as many
      write: writes bytes, perhaps into a buffer
      flush: writes the buffer

    Attributes:
      has_bands: whether the client reads side bands by now
      is_told: whether the client was told why its request ends
    """

    def __init__(
        self,
        recv: Callable[[int], bytes],
        write: Callable[[bytes], Any],
        flush: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(recv, write)
        self.flush = flush
        self.has_bands = False
        self.is_told = False

    def write_sideband(self, channel: int, blob: bytes) -> None:
        """Write over a side band."""
        self.has_bands = True
        super().write_sideband(channel, blob)
