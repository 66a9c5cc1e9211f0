# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The updates that git does not do itself, but hands to the hook ``proc-receive``.

This server does not run that hook. It refuses such an update, because the repository does not want
it to be done in the usual way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["ProcReceiveRefs"]


class _Rule(NamedTuple):
    kinds: bytes
    prefix: bytes
    is_negative: bool


class ProcReceiveRefs:
    """The values of ``receive.procReceiveRefs`` (git: ``proc_receive_ref_matches``).

    A rule is the name of a ref; it matches this ref and all refs below it. Letters and a colon
    before the name limit the rule to refs that are added (``a``), deleted (``d``) or modified
    (``m``). With ``!`` among the letters, the rule matches all other refs.

    Args:
      values: the least binding first
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        self._rules = []
        for value in values:
            letters, colon, prefix = value.partition(b":")
            if not colon:
                letters, prefix = b"adm", value
            self._rules.append(_Rule(letters, prefix.rstrip(b"/"), b"!" in letters))

    def matches(self, name: bytes, *, creates: bool, deletes: bool) -> bool:
        """Tell whether the update of a ref is for the hook.

        Args:
          name: of the ref
          creates: whether the ref is added
          deletes: whether the ref is deleted; a ref that is neither is modified
        """
        for rule in self._rules:
            unwanted = (
                (creates and b"a" not in rule.kinds)
                or (deletes and b"d" not in rule.kinds)
                or (not creates and not deletes and b"m" not in rule.kinds)
            )
            if unwanted:
                continue
            rest = name[len(rule.prefix) :]
            is_below = name.startswith(rule.prefix) and rest[:1] in (b"", b"/")
            if is_below != rule.is_negative:
                return True
        return False
