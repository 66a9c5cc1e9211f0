# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
r"""The head object: what ``tables.list`` is in a directory, and what only a bucket needs.

One head object says which tables a stack has. It is replaced by conditional puts, one an update.
Small new tables are inside it, so that such an update is a single request. It is laid out as ::

    "dulwich-reftable head 1\n"     format and version
    4 bytes                        length of the JSON text, big-endian
    JSON text                      see below
    bytes of the inline tables     in the order of the list
    32 bytes                       SHA-256 of all before

and its JSON text is an object of

``hash``      ``"sha1"`` or ``"s256"``, as in the headers of tables
``serial``    number of the swap that made this head; the first head has 0
``commits``   ``[[nonce, seconds], ...]``, of the latest swaps, this one last
``tables``    ``[[name, bytes, digest, ends], ...]``, oldest first; the digest (BLAKE2b, 16 bytes in
              hex) is null for inline tables, which the checksum covers. The ends are those of a
              large table, its first 29 bytes and its footer, each in base64; else null. They save
              readers the requests for them. In heads of older versions, tables have no ends
``retired``   ``[[name, seconds], ...]``: replaced, and kept for those who read old heads
``claims``    ``[[owner, seconds, [name, ...]], ...]``: tables that are being merged, until then
``epoch``     number of sweeps; a table that was uploaded before the latest may be gone
``grace``     seconds for which retired tables are kept

Each swap writes a new random nonce, whose first digits are those of the process (:mod:`.turns`). So
no two heads are equal, and neither are their entity tags, which some stores make of the bytes
alone. The nonces form a chain: whoever knows the head that a put was to replace finds out from any
later head which put has replaced it (:meth:`Head.fate_of`).

Seconds are since the epoch, by the clock of the writer. A wrong clock can shorten what is kept for
readers, can have writers wait for nobody, and can leave an outcome unknown, and nothing worse.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from ..engine.errors import CorruptTableError
from ..engine.format.layout import FOOTER_SIZES, HASH_SIZES, HEADER_SIZES, LONGEST_HEADER

__all__ = [
    "LONGEST_END",
    "MAX_SIZE",
    "WRITER_DIGITS",
    "Claimed",
    "Commit",
    "Ends",
    "Fate",
    "Head",
    "ListedTable",
    "Retired",
    "new_nonce",
    "table_digest",
]

MAX_SIZE = 16 << 20
"""Maximum bytes of a head object; nobody writes so large a one."""

GRACE = 3600.0
"""Seconds for which retired tables are kept, unless a repository says otherwise."""

_MAGIC = b"dulwich-reftable head "
_FIRST_LINE = _MAGIC + b"1\n"
_LENGTH = 4
_DIGEST = 32

WRITER_DIGITS = 6
"""Digits at the beginning of a nonce that are those of its writer."""

_TABLE_DIGEST = re.compile(r"[0-9a-f]{32}")
_NONCE = re.compile(r"[0-9a-f]{16}")
_TABLE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,199}\.ref")

_COMMIT_SECONDS = 60
_MIN_COMMITS = 16
_MAX_COMMITS = 1024
"""How long, and how many, nonces are kept: a writer in doubt has so long to read the head."""

_MAX_SECONDS = 1 << 40
_MAX_COUNT = 1 << 64


def table_digest(data: Iterable[bytes]) -> str:
    """Give the digest of a table's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for chunk in data:
        digest.update(chunk)
    return digest.hexdigest()


def new_nonce(writer: str = "") -> str:
    """Give 16 hex digits that nobody else has.

    Args:
      writer: the first digits, by which a process tells who it is
    """
    return writer + secrets.token_hex(8)[len(writer) :]


class Fate(Enum):
    """What became of a put."""

    APPLIED = "applied"
    LOST = "lost"
    PENDING = "pending"
    UNKNOWN = "unknown"


class Ends(NamedTuple):
    """The ends of a table.

    Attributes:
      first: the first 29 bytes, which are the header and what type the first block has
      last: the footer
    """

    first: bytes
    last: bytes

    @classmethod
    def of(cls, first: bytes, last: bytes) -> Ends:
        """Cut the ends from the beginning and the end of a table.

        Raises:
          ValueError: if these cannot be the ends of a table
        """
        version = first[4] if len(first) > 4 else 0
        if version not in HEADER_SIZES:
            raise ValueError("a table of no known version")
        footer = FOOTER_SIZES[version]
        if len(first) <= LONGEST_HEADER or len(last) < footer:
            raise ValueError("the ends of a table are cut short")
        return cls(first[: LONGEST_HEADER + 1], last[-footer:])


LONGEST_END = max(LONGEST_HEADER + 1, *FOOTER_SIZES.values())
"""Bytes of either end of a table, in which :meth:`Ends.of` finds all that it needs."""


@dataclass(frozen=True)
class ListedTable:
    """A table in the list.

    Attributes:
      name: of the table, and of its object
      size: in bytes
      digest: of its object; None if it is inside the head
      data: its bytes, if it is inside the head
      ends: those of a large table
    """

    name: str
    size: int
    digest: str | None = None
    data: bytes | None = None
    ends: Ends | None = None


@dataclass(frozen=True)
class Commit:
    """A swap of the head: its nonce, and when it was, in seconds since the epoch."""

    nonce: str
    when: int


@dataclass(frozen=True)
class Retired:
    """A table that was replaced, and when, in seconds since the epoch."""

    name: str
    since: int


@dataclass(frozen=True)
class Claimed:
    """Tables that somebody merges, and until when the claim counts, in seconds since the epoch."""

    owner: str
    until: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """What a head object says; attributes are those that the module's text tells of."""

    hash_id: str
    commits: tuple[Commit, ...]
    serial: int = 0
    tables: tuple[ListedTable, ...] = ()
    retired: tuple[Retired, ...] = ()
    claims: tuple[Claimed, ...] = ()
    epoch: int = 0
    grace: float = GRACE

    @property
    def nonce(self) -> str:
        """The nonce of the swap that made this head."""
        return self.commits[-1].nonce

    @property
    def names(self) -> tuple[str, ...]:
        """The tables' names, oldest first."""
        return tuple(table.name for table in self.tables)

    def successor(self, nonce: str, now: float, **changes: Any) -> Head:
        """Give a head that may replace this one.

        Args:
          nonce: of the swap
          now: seconds since the epoch
          changes: attributes that are not as they are here
        """
        commits = (*self.commits, Commit(nonce, int(now)))[-_MAX_COMMITS:]
        old = [at for at, one in enumerate(commits) if one.when < now - _COMMIT_SECONDS]
        first = min(old[-1] + 1 if old else 0, max(len(commits) - _MIN_COMMITS, 0))
        return replace(self, commits=commits[first:], serial=self.serial + 1, **changes)

    def nonce_of(self, serial: int) -> str | None:
        """Give the nonce of a swap by its number; None if it is not known any more, or not yet."""
        at = len(self.commits) - 1 - (self.serial - serial)
        return self.commits[at].nonce if 0 <= at < len(self.commits) else None

    def fate_of(self, nonce: str, base: Head) -> Fate:
        """Tell from this head what became of a put.

        Args:
          nonce: of the put
          base: the head that it was to replace
        """
        if self.serial == base.serial and self.nonce == base.nonce:
            return Fate.PENDING
        found = self.nonce_of(base.serial + 1)
        if found is None:
            return Fate.UNKNOWN
        return Fate.APPLIED if found == nonce else Fate.LOST

    # Bytes

    def encode(self) -> bytes:
        """Give the bytes of the head object."""
        text = json.dumps(
            {
                "hash": self.hash_id,
                "serial": self.serial,
                "commits": [[one.nonce, one.when] for one in self.commits],
                "tables": [
                    [one.name, one.size, one.digest, one.ends and [*map(_to_text, one.ends)]]
                    for one in self.tables
                ],
                "retired": [[one.name, one.since] for one in self.retired],
                "claims": [[one.owner, one.until, [*one.names]] for one in self.claims],
                "epoch": self.epoch,
                "grace": self.grace,
            },
            separators=(",", ":"),
        ).encode()
        inline = [table.data for table in self.tables if table.data is not None]
        content = b"".join([_FIRST_LINE, len(text).to_bytes(_LENGTH, "big"), text, *inline])
        return content + hashlib.sha256(content).digest()

    @classmethod
    def decode(cls, data: bytes, location: str) -> Head:
        """Read the bytes of a head object.

        Args:
          data: the bytes
          location: of the object, for messages
        Raises:
          CorruptTableError: if they are damaged, or of another version
        """
        if not data.startswith(_FIRST_LINE):
            if data.startswith(_MAGIC):
                raise CorruptTableError(location, 0, "a version of head objects that is not known")
            raise CorruptTableError(location, 0, "this is no head object")
        content = data[:-_DIGEST]
        if hashlib.sha256(content).digest() != data[-_DIGEST:]:
            raise CorruptTableError(location, None, "the checksum does not match")
        start = len(_FIRST_LINE) + _LENGTH
        stop = start + int.from_bytes(content[len(_FIRST_LINE) : start], "big")
        try:
            return _head_of(json.loads(content[start:stop].decode()), content, stop)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CorruptTableError(location, start, reason) from error


def _head_of(text: Any, content: bytes, at: int) -> Head:
    """Make a head of what its JSON text says; ``at`` is where the inline tables begin."""
    if not isinstance(text, Mapping):
        raise TypeError("not an object")
    if not isinstance(text["hash"], str) or text["hash"].encode() not in HASH_SIZES:
        raise ValueError("an unknown hash")
    tables = []
    for name, size, digest, *more in _lists(text["tables"], 4, 3):
        data = None
        if digest is None:
            data = content[at : at + _count(size)]
            at += size
        elif not isinstance(digest, str) or not _TABLE_DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r:.60} is no digest")
        tables.append(ListedTable(_table_name(name), _count(size), digest, data, _ends(*more)))
    if at != len(content):
        raise ValueError(f"inline tables end at {at}, and the object at {len(content)}")
    head = Head(
        hash_id=text["hash"],
        serial=_count(text["serial"]),
        commits=tuple(
            Commit(_nonce(nonce), _seconds(when)) for nonce, when in _lists(text["commits"], 2)
        ),
        tables=tuple(tables),
        retired=tuple(
            Retired(_table_name(name), _seconds(since))
            for name, since in _lists(text["retired"], 2)
        ),
        claims=tuple(
            Claimed(_nonce(owner), _seconds(until), tuple(map(_table_name, names)))
            for owner, until, names in _lists(text["claims"], 3)
        ),
        epoch=_count(text["epoch"]),
        grace=float(text["grace"]),
    )
    if not 0 <= head.grace < _MAX_SECONDS:
        raise ValueError("a grace period that is out of range")
    if not head.commits or len(head.commits) > head.serial + 1:
        raise ValueError("the nonces do not fit the serial number")
    if len({*head.names}) != len(head.names):
        raise ValueError("a table is listed twice")
    return head


def _lists(value: Any, *lengths: int) -> Iterable[Any]:
    for one in value:
        if not isinstance(one, list) or len(one) not in lengths:
            raise ValueError(f"{one!r:.60} is no list of {lengths[0]}")
    return value  # type: ignore[no-any-return]


def _to_text(data: bytes) -> str:
    return b64encode(data).decode()


def _ends(value: Any = None) -> Ends | None:
    if value is None:
        return None
    first, last = (b64decode(part, validate=True) for part in value)
    ends = Ends.of(first, last)
    if ends != (first, last):
        raise ValueError("the ends of a table are too long")
    return ends


def _table_name(value: Any) -> str:
    if not isinstance(value, str) or not _TABLE.fullmatch(value):
        raise ValueError(f"{value!r:.60} is no name of a table")
    return value


def _nonce(value: Any) -> str:
    if not isinstance(value, str) or not _NONCE.fullmatch(value):
        raise ValueError(f"{value!r:.60} is no nonce")
    return value


def _count(value: Any) -> int:
    return _integer(value, _MAX_COUNT)


def _seconds(value: Any) -> int:
    return _integer(value, _MAX_SECONDS)


def _integer(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"{value!r:.60} is no number below {limit}")
    return value
