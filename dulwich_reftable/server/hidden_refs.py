# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs that clients cannot see (git: ``transfer.hideRefs`` and the like)."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable
from typing import Any

from dulwich.config import Config

from ..config.values import items_of

__all__ = ["HiddenRefs"]


class HiddenRefs:
    """Tells which refs are hidden from clients (git: ``ref_is_hidden``).

    A rule hides the ref of that name and all refs below it. A rule that begins with ``!`` shows
    them again. The last rule that matches counts. ``^`` at the beginning has no effect: it means
    the name with its namespace, and this server has no namespaces.

    Args:
      rules: the least binding first
      also: hides more names; no rule shows those again

    Attributes:
      prefixes: if no rule shows refs again: all names with one of these prefixes are hidden; the
        rules' own names are hidden, too. None if a rule shows refs again.
    """

    def __init__(self, rules: Iterable[bytes], also: Container[bytes] = ()) -> None:
        self._also = also
        self._rules: list[tuple[bytes, bool]] = []
        for rule in rules:
            shows = rule.startswith(b"!")
            name = rule[shows:].removeprefix(b"^").rstrip(b"/")
            self._rules.insert(0, (name, not shows))
        only_hides = all(hides for _, hides in self._rules)
        self.prefixes = [name + b"/" for name, _ in self._rules] if only_hides else None

    @classmethod
    def of(cls, config: Config, service: bytes) -> HiddenRefs:
        """Read ``transfer.hideRefs`` and the service's own.

        Args:
          config: of the repository
          service: ``b"receive"`` or ``b"uploadpack"``
        """
        return cls(
            value
            for subsection, key, value in items_of(config, b"transfer", service)
            if not subsection and key == b"hiderefs"
        )

    def beside(self, also: Container[bytes]) -> HiddenRefs:
        """Give rules that hide more names, whatever these rules show again."""
        both = HiddenRefs((), also)
        both._rules, both.prefixes = self._rules, self.prefixes
        return both

    @property
    def identity(self) -> Hashable | None:
        """Equal for rules that hide the same; None if only a call for each name tells that."""
        return tuple(self._rules) if self._also == () else None

    def conceals(self, name: bytes) -> bool:
        """Tell whether symrefs to a ref are hidden, too; git shows those to refs of its rules."""
        return name in self._also

    def __bool__(self) -> bool:
        return bool(self._rules) or self._also != ()

    def __contains__(self, name: Any) -> bool:
        if name in self._also:
            return True
        for rule, hides in self._rules:
            if name.startswith(rule) and name[len(rule) : len(rule) + 1] in (b"", b"/"):
                return hides
        return False
