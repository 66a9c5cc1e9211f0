"""A model of a ref store: two dictionaries, and the rules that git and dulwich share.

Random tests change the model and a real repository alike; then both must show the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from support.git import LogEntry

SYMREF = b"ref: "


class Note(NamedTuple):
    """What a writer says for the reflog: the keywords of all methods that write."""

    committer: bytes
    timestamp: int
    timezone: int
    message: bytes

    def entry(self, old: bytes, new: bytes) -> LogEntry:
        """Return the entry that the reflog then shows."""
        message = b" ".join(self.message.split())
        return LogEntry(old, new, self.committer, self.timestamp, self.timezone, message)


@dataclass
class RefModel:
    """The refs as stored, and the reflogs with their oldest entry first."""

    zero: bytes
    refs: dict[bytes, bytes] = field(default_factory=dict)
    logs: dict[bytes, list[LogEntry]] = field(default_factory=dict)

    # -- reading

    def chain(self, name: bytes) -> list[bytes]:
        """Return the names from `name` through its symrefs to the one that holds the id."""
        names = [name]
        while self.refs.get(names[-1], b"").startswith(SYMREF):
            names.append(self.refs[names[-1]][len(SYMREF) :])
        return names

    def resolve(self, name: bytes) -> bytes | None:
        """Return the id that a name leads to."""
        return self.refs.get(self.chain(name)[-1])

    def dangling(self) -> list[bytes]:
        """Return the symrefs that lead nowhere, HEAD of an unborn branch among them."""
        return [name for name in self.refs if self.resolve(name) is None]

    def conflicts(self, name: bytes, gone: Collection[bytes] = ()) -> bool:
        """Tell whether a ref of this name would be another's directory, or the reverse."""
        return any(
            other.startswith(name + b"/") or name.startswith(other + b"/")
            for other in self.refs
            if other not in gone
        )

    # -- writing

    def put(self, name: bytes, new: bytes, note: Note | None = None) -> None:
        """Set the ref at the end of the chain; all of the chain, and HEAD above it, log it."""
        names = self.chain(name)
        real = names[-1]
        old = self.refs.get(real, self.zero)
        if old == new:
            return
        self._log({*names, *self._heads(real)}, old, new, note)
        self.refs[real] = new

    def set_symref(self, name: bytes, target: bytes, note: Note | None = None) -> None:
        """Make a symref; git logs one only if its target exists."""
        old = self.resolve(name) or self.zero
        new = self.resolve(target)
        self.refs[name] = SYMREF + target
        if new is not None:
            self._log({name}, old, new, note)

    def delete(self, name: bytes, note: Note | None = None) -> None:
        """Delete the ref itself and its reflog; that of a symref stays, and tells of it."""
        if name not in self.refs:
            return
        if self.refs[name].startswith(SYMREF):
            self._log({name}, self.resolve(name) or self.zero, self.zero, note)
        else:
            self._log(self._heads(name), self.refs[name], self.zero, note)
            self.logs.pop(name, None)
        del self.refs[name]

    def rename(self, old: bytes, new: bytes) -> None:
        """Move a ref and its reflog."""
        self.copy(old, new)
        del self.refs[old]
        self.logs.pop(old, None)

    def copy(self, old: bytes, new: bytes) -> None:
        """Copy a ref and its reflog."""
        self.refs[new] = self.refs[old]
        if old in self.logs:
            self.logs[new] = list(self.logs[old])

    def expire(
        self,
        name: bytes,
        expire_time: int | None,
        expire_unreachable_time: int | None = None,
        reachable: Callable[[bytes], bool] = lambda _: True,
    ) -> int:
        """Drop the old entries of a reflog, which goes on to exist; return how many."""

        def kept(entry: LogEntry) -> bool:
            limit = expire_time if reachable(entry.new) else expire_unreachable_time
            return limit is None or entry.timestamp >= limit

        before = self.logs.get(name, [])
        if name in self.logs:
            self.logs[name] = [entry for entry in before if kept(entry)]
        return len(before) - len(self.logs.get(name, []))

    def drop_entry(self, name: bytes, index: int, rewrite: bool = False) -> None:
        """Drop the entry of this index, counted from the newest; maybe close the gap."""
        log = self.logs[name]
        at = len(log) - 1 - index
        del log[at]
        if rewrite and at < len(log):
            log[at] = log[at]._replace(old=log[at - 1].new if at else self.zero)
            if log[at].old == log[at].new == self.zero:
                del log[at]  # what tells of nothing is no entry

    def _heads(self, name: bytes) -> set[bytes]:
        return {b"HEAD"} if self.refs.get(b"HEAD") == SYMREF + name else set()

    def _log(self, names: Collection[bytes], old: bytes, new: bytes, note: Note | None) -> None:
        if note is not None:
            for name in names:
                log = self.logs.setdefault(name, [])
                if not old == new == self.zero:  # such a record only says that the log exists
                    log.append(note.entry(old, new))
