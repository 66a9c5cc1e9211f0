"""Two writers of one repository, git and our container, that take the same orders.

An order either happens as a whole or is refused as a whole: then it raises `Refused`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from support.git import Git, GitError, format_timezone
from support.model import Note

if TYPE_CHECKING:
    import dulwich_reftable as dr


class Refused(Exception):
    """The writer did nothing, because an expectation was not met or names conflict."""


class Change(NamedTuple):
    """One line of a transaction; ``new`` is None to delete, ``old`` None to ask for nothing.

    Setting follows symrefs, deleting does not.
    """

    name: bytes
    new: bytes | None
    old: bytes | None = None


class Writer(Protocol):
    """What both writers can do."""

    def apply(self, changes: Sequence[Change], note: Note) -> None:
        """Do all changes in one transaction."""

    def set_symref(self, name: bytes, target: bytes, note: Note) -> None:
        """Make a symref."""

    def expire(self, name: bytes, limit: int) -> None:
        """Drop the reflog entries older than `limit`."""

    def drop_entry(self, name: bytes, index: int) -> None:
        """Drop one reflog entry, counted from the newest, and leave the others as they are."""

    def compact(self) -> None:
        """Write the stack as one table."""


class GitWriter:
    """Writes with git, a process an order."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def apply(self, changes: Sequence[Change], note: Note) -> None:
        """See `Writer`."""
        lines = [line for change in changes for line in self._lines(change)]
        try:
            self.git.update_ref_stdin(lines, note.message, self._environment(note))
        except GitError as error:
            raise Refused(str(error)) from error

    def _lines(self, change: Change) -> list[bytes]:
        old = b"" if change.old is None else b" " + change.old
        if change.new is None:
            return [b"option no-deref", b"delete " + change.name + old]
        return [b"update " + change.name + b" " + change.new + old]

    def _environment(self, note: Note) -> dict[str, str]:
        name, email = note.committer.decode().rstrip(">").split(" <")
        return {**Git.identity(name, email), **Git.date(note.timestamp, note.timezone)}

    def set_symref(self, name: bytes, target: bytes, note: Note) -> None:
        """See `Writer`."""
        environment = self._environment(note)
        self.git.run("symbolic-ref", "-m", note.message, name, target, env=environment)

    def expire(self, name: bytes, limit: int) -> None:
        """See `Writer`."""
        when = f"@{limit} {format_timezone(0)}"
        self.git.run("reflog", "expire", f"--expire={when}", "--expire-unreachable=never", name)

    def drop_entry(self, name: bytes, index: int) -> None:
        """See `Writer`."""
        self.git.run("reflog", "delete", name + b"@{%d}" % index)

    def compact(self) -> None:
        """See `Writer`."""
        self.git.run("pack-refs", "--all")


class ContainerWriter:
    """Writes with our container."""

    def __init__(self, refs: dr.ReftableRefsContainer) -> None:
        self.refs = refs

    def apply(self, changes: Sequence[Change], note: Note) -> None:
        """See `Writer`; one change goes through dulwich's own methods, several through ours."""
        import dulwich_reftable as dr

        about = note._asdict()
        try:
            if len(changes) == 1:
                self._apply_one(changes[0], about)
                return
            with self.refs.transaction(**about) as transaction:
                for change in changes:
                    if change.new is None:
                        transaction.delete(change.name, change.old)
                    else:
                        transaction.update(change.name, change.new, change.old)
        except (dr.TransactionError, dr.RefConflictError) as error:
            raise Refused(str(error)) from error

    def _apply_one(self, change: Change, about: dict[str, Any]) -> None:
        if change.new is None:
            done = self.refs.remove_if_equals(change.name, change.old, **about)
        else:
            done = self.refs.set_if_equals(change.name, change.old, change.new, **about)
        if not done:
            raise Refused(change)

    def set_symref(self, name: bytes, target: bytes, note: Note) -> None:
        """See `Writer`."""
        self.refs.set_symbolic_ref(name, target, **note._asdict())

    def expire(self, name: bytes, limit: int) -> None:
        """See `Writer`."""
        self.refs.expire_reflog(name, expire_time=limit)

    def drop_entry(self, name: bytes, index: int) -> None:
        """See `Writer`."""
        self.refs.drop_reflog_entry(name, index)

    def compact(self) -> None:
        """See `Writer`."""
        self.refs.compact()
