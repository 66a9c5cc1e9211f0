# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Which updates git would not do itself, but hand to the hook ``proc-receive``.

There is no such hook here. An update that the repository wants to go another way must not be done
as if nothing was asked, so it is refused.
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

    A rule is a ref, which stands for all below it as well. Letters and a colon before it limit the
    rule to refs that are added (``a``), deleted (``d``) or modified (``m``); ``!`` among them makes
    it fit whatever is not the ref or below it.

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
        """Tell whether the update of a ref is to go to the hook.

        Args:
          name: of the ref
          creates: whether the ref is new
          deletes: whether the ref is to go; neither of both is a modification
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
