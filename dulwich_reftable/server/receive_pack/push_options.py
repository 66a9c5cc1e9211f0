# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Push options: texts that a client sends with a push, for the hooks of the repository.

They follow the commands (``gitprotocol-pack``, "Reference Update Request") if the repository turns
on ``receive.advertisePushOptions``. As in git, ``pre-receive`` and ``post-receive`` get them in
their environment, and ``update`` does not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from dulwich.protocol import Protocol

from ..errors import RefusedError
from ..pkt_lines import read_line

__all__ = ["environment_of", "read_push_options"]

_MAX_OPTIONS = 10_000
_MAX_BYTES = 1 << 20
"""The system limits the environment of a process, too; no hook could run with more."""


def read_push_options(proto: Protocol) -> list[bytes]:
    """Read the options, up to the flush.

    Raises:
      RefusedError: if there are too many, or one has a byte that no environment can hold
    """
    options: list[bytes] = []
    left = _MAX_BYTES
    for _ in range(_MAX_OPTIONS):
        line = read_line(proto)
        if line is None:
            return options
        left -= len(line)
        if left < 0:
            break
        if b"\0" in line:
            raise RefusedError(f"receive-pack: invalid push option {line[:80]!r}")
        options.append(line)
    raise RefusedError("receive-pack: too many push options")


def environment_of(options: Sequence[bytes]) -> dict[str, str]:
    """Give the variables by which hooks get push options."""
    variables = {
        f"GIT_PUSH_OPTION_{number}": os.fsdecode(option) for number, option in enumerate(options)
    }
    return {**variables, "GIT_PUSH_OPTION_COUNT": str(len(options))}
