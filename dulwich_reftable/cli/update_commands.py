# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The commands of ``git update-ref --stdin``: what each does to a transaction.

Source: git's documentation of ``update-ref``, and its behaviour where that is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..naming.symrefs import symref_to
from .repository import printable
from .update_hooks import HookedTransaction
from .update_words import CommandError, Words

__all__ = ["Commands"]

_ARGUMENTS = {
    b"update": 3, b"create": 2, b"delete": 2, b"verify": 2,
    b"symref-update": 4, b"symref-create": 2, b"symref-delete": 2, b"symref-verify": 2,
    b"option": 1, b"start": 0, b"prepare": 0, b"abort": 0, b"commit": 0,
}  # fmt: skip
"""The commands, and how many arguments each has with ``-z``."""


class Commands:
    """Runs the commands.

    Args:
      begin: makes a transaction
      resolve: finds the object id for a name, or None
      check: takes a ref and its new value; raises if the ref cannot have that value
      hex_size: hex digits of an object id
      follow: whether symrefs are followed if a command does not say
      reply: takes the replies to commands such as ``start``
    """

    def __init__(
        self,
        begin: Callable[[], HookedTransaction],
        resolve: Callable[[bytes], bytes | None],
        check: Callable[[bytes, bytes], None],
        hex_size: int,
        follow: bool,
        reply: Callable[[str], None],
    ) -> None:
        self._begin = begin
        self._resolve = resolve
        self._check = check
        self._zero = b"0" * hex_size
        self._follows = follow
        self._reply = reply
        self._follow = follow  # for the next command
        self._transaction = begin()
        self._state = "open"

    def run(self, pieces: Iterator[bytes], terminator: bytes) -> None:
        """Run commands until the input ends.

        At the end, an open transaction is committed, unless ``start`` began it: then it is aborted.

        Args:
          pieces: lines or strings
          terminator: the byte at their end
        Raises:
          CommandError: if a command is wrong
          ReftableError: if a transaction fails; it has no effect
        """
        try:
            for piece in pieces:
                self._run_one(piece, pieces, terminator)
            if self._state == "open":
                self._transaction.commit()
            elif self._state != "closed":
                self._transaction.call_off()
        finally:
            self._transaction.abort()

    def _run_one(self, piece: bytes, pieces: Iterator[bytes], terminator: bytes) -> None:
        if piece == terminator:
            raise CommandError("empty command in input")
        name, space, text = piece.partition(b" ")
        count = _ARGUMENTS.get(name if space else piece.removesuffix(terminator))
        if count is None or bool(count) != bool(space):
            raise CommandError(f"unknown command: {printable(piece.removesuffix(terminator))}")
        if not count:
            name = piece.removesuffix(terminator)
            if name == piece:
                raise CommandError(f"{name.decode()}: no newline at the end")
            self._change_state(name)
            return
        if self._state == "prepared":
            raise CommandError("prepared transactions can only be closed")
        if self._state == "closed":
            raise CommandError("transaction is closed")
        if terminator == b"\n":
            words = Words(name, text)
        else:
            strings = [text]
            while len(strings) < count and (more := next(pieces, None)) is not None:
                strings.append(more)
            words = Words(name, b"", [string.removesuffix(b"\0") for string in strings])
        self._dispatch(name, words)

    def run_one(self, name: bytes, arguments: list[bytes]) -> None:
        """Run one command in a transaction of its own; errors are those of :meth:`run`.

        Args:
          name: the command
          arguments: its arguments, as with ``-z``
        """
        try:
            self._dispatch(name, Words(name, b"", arguments))
            self._transaction.commit()
        finally:
            self._transaction.abort()

    def _dispatch(self, name: bytes, words: Words) -> None:
        method: Callable[[Words], None] = getattr(self, "_" + name.decode().replace("-", "_"))
        method(words)
        if name != b"option":
            self._follow = self._follows

    # The state of the transaction

    def _change_state(self, name: bytes) -> None:
        state = self._state
        if name == b"start":
            if state in ("started", "prepared"):
                raise CommandError("cannot restart ongoing transaction")
            if state == "closed":
                self._transaction = self._begin()
            self._state = "started"
        elif state == "closed":
            raise CommandError("transaction is closed")
        elif name == b"prepare":
            if state == "prepared":
                raise CommandError("prepared transactions can only be closed")
            self._transaction.prepare()
            self._state = "prepared"
        else:
            self._state = "closed"
            if name == b"commit":
                self._transaction.commit()
            else:
                self._transaction.call_off()
        self._reply(f"{name.decode()}: ok")

    # The commands. Each takes its words, and adds an update.

    def _option(self, words: Words) -> None:
        option = words.take()
        if option != b"no-deref":
            raise words.error(f"unknown: {printable(option or b'')}")
        words.end()
        self._follow = False

    def _update(self, words: Words) -> None:
        ref = self._ref(words)
        new = self._id(words, "new", if_empty=self._zero)
        if new is None:
            raise words.error("no new object id")
        old = self._id(words, "old")
        words.end()
        self._add(ref, new, old)

    def _create(self, words: Words) -> None:
        ref = self._ref(words)
        new = self._id(words, "new")
        if new is None or new == self._zero:
            raise words.error("no new object id" if new is None else "the new object id is zero")
        words.end()
        self._add(ref, new, self._zero)

    def _delete(self, words: Words) -> None:
        ref = self._ref(words)
        old = self._id(words, "old")
        if old == self._zero:
            raise words.error("the old object id is zero")
        words.end()
        self._add(ref, self._zero, old)

    def _verify(self, words: Words) -> None:
        ref = self._ref(words)
        old = self._id(words, "old")
        words.end()
        self._add(ref, None, self._zero if old is None else old)

    def _symref_update(self, words: Words) -> None:
        ref, target = self._ref(words), self._ref(words)
        kind, value = words.take(), words.take()
        old: bytes | None = None
        if kind:
            if not value:
                raise words.error("no old value")
            if kind == b"oid":
                old = self._resolve(value)
                if old is None:
                    raise words.error(f"invalid object id: {printable(value)}")
            elif kind == b"ref":
                old = symref_to(value)
            else:
                raise words.error(f"the old value is neither 'oid' nor 'ref': {printable(kind)}")
        words.end()
        self._add(ref, symref_to(target), old)

    def _symref_create(self, words: Words) -> None:
        ref, target = self._ref(words), self._ref(words)
        words.end()
        self._add(ref, symref_to(target), self._zero)

    def _symref_delete(self, words: Words) -> None:
        self._add(*self._symref_and_old(words, new=self._zero))

    def _symref_verify(self, words: Words) -> None:
        ref, _, old = self._symref_and_old(words, new=None)
        self._add(ref, None, self._zero if old is None else old)

    def _symref_and_old(
        self, words: Words, new: bytes | None
    ) -> tuple[bytes, bytes | None, bytes | None]:
        if self._follow:
            raise words.error("cannot operate while symrefs are followed")
        ref, target = self._ref(words), words.take()
        words.end()
        return ref, new, symref_to(target) if target else None

    # Arguments

    def _ref(self, words: Words) -> bytes:
        ref = words.take()
        if not ref:
            raise words.error("no ref")
        return ref

    def _id(self, words: Words, which: str, if_empty: bytes | None = None) -> bytes | None:
        """Take an object id; None if there is none.

        Args:
          words: of the command
          which: ``"new"`` or ``"old"``, for messages
          if_empty: the meaning of an empty string with ``-z``; in lines it is the zero id
        """
        name = words.take()
        if name is None:
            if words.are_strings:
                raise words.error(f"unexpected end of input, instead of the {which} object id")
            return None
        if not name:
            return if_empty if words.are_strings else self._zero
        found = self._resolve(name)
        if found is None:
            raise words.error(f"invalid {which} object id: {printable(name)}")
        return found

    def _add(self, ref: bytes, new: bytes | None, old: bytes | None) -> None:
        """Add an update.

        Args:
          ref: its name
          new: id, the zero id to delete, or None to verify only
          old: id or symref that it must have; None for anything
        """
        if new is not None and new != self._zero:
            self._check(ref, new)
        self._transaction.add_update(
            ref,
            None if new == self._zero else new,
            old=old,
            follow=self._follow,
            verify_only=new is None,
            old_is_resolved=True,
        )
