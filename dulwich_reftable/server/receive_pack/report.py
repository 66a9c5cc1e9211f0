# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What became of a push: the report for the client, and a line for the log."""

from __future__ import annotations

from collections.abc import Sequence

from dulwich.protocol import pkt_line

from ..pkt_lines import FLUSH
from .commands import Command

__all__ = ["outcome_of", "report_of"]

_MOST_NAMED = 3


def report_of(unpacked: bytes, commands: Sequence[Command]) -> bytes:
    """Give the report for the client (``report-status``), to its flush.

    Args:
      unpacked: ``b"ok"``, or what is wrong with the pack
      commands: of the push, with the reasons of those that were refused
    """
    lines = [pkt_line(b"unpack %s\n" % unpacked)]
    for command in commands:
        if command.refusal is None:
            lines.append(pkt_line(b"ok %s\n" % command.name))
        else:
            lines.append(pkt_line(b"ng %s %s\n" % (command.name, command.refusal)))
    return b"".join([*lines, FLUSH])


def outcome_of(commands: Sequence[Command]) -> str:
    """Describe the outcome of a push, for the log."""
    refused = [command for command in commands if command.refusal is not None]
    done = f"{len(commands) - len(refused)} of {len(commands)} refs updated"
    if not refused:
        return f"done, {done}"
    reasons = [f"{command.name[:80]!r}: {command.refusal!r}" for command in refused]
    more = ["..."] if len(reasons) > _MOST_NAMED else []
    return f"refused, {done}; " + ", ".join(reasons[:_MOST_NAMED] + more)
