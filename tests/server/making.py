"""Make objects and packs that no git would make."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from support.git import Git

from . import wire

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
WHO = b"C O Mitter <c@example.com> 1700000000 +0000"


class Object(NamedTuple):
    """An object to be packed: whole, or as a delta of type 7 with its base's binary id."""

    type_num: int
    data: bytes
    base: bytes = b""

    @property
    def oid(self) -> bytes:
        """Its hex id."""
        head = b"%s %d\0" % (NAMES[self.type_num], len(self.data))
        return hashlib.sha1(head + self.data).hexdigest().encode()


def blob(data: bytes) -> Object:
    return Object(BLOB, data)


def tree(*entries: tuple[bytes, bytes, bytes]) -> Object:
    """Make a tree of mode, name and hex id."""
    return Object(
        TREE, b"".join(b"%s %s\0" % (m, n) + bytes.fromhex(o.decode()) for m, n, o in entries)
    )


def commit(tree: bytes, *parents: bytes, message: bytes = b"made\n") -> Object:
    lines = [b"tree " + tree, *(b"parent " + parent for parent in parents)]
    lines += [b"author " + WHO, b"committer " + WHO, b"", message]
    return Object(COMMIT, b"\n".join(lines))


def tag(oid: bytes, kind: bytes, name: bytes = b"made") -> Object:
    lines = b"object %s\ntype %s\ntag %s\ntagger %s\n\nmade\n"
    return Object(TAG, lines % (oid, kind, name, WHO))


def entry(type_num: int, size: int) -> bytes:
    """How an object begins in a pack."""
    head = bytearray([(type_num << 4) | (size & 15)])
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)


def pieces(objects: Iterable[Object]) -> Iterator[bytes]:
    """The entries of a pack."""
    for one in objects:
        yield entry(one.type_num, len(one.data)) + one.base + zlib.compress(one.data)


def pack(*objects: Object) -> bytes:
    return seal(len(objects), pieces(objects))


def seal(count: int, entries: Iterable[bytes]) -> bytes:
    """Make a pack of entries."""
    body = b"PACK\0\0\0\2" + count.to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def delta(base: Object, result_size: int, instructions: bytes) -> Object:
    """Make a delta of a blob."""
    data = _size(len(base.data)) + _size(result_size) + instructions
    return Object(7, data, bytes.fromhex(base.oid.decode()))


def _size(size: int) -> bytes:
    out = bytearray()
    while True:
        out.append(size & 0x7F)
        size >>= 7
        if not size:
            return bytes(out)
        out[-1] |= 0x80


def push_to_git(
    git: Git, *commands: bytes, pack: bytes, config: Iterable[str] = ()
) -> dict[bytes, bytes]:
    """Push to git's own receive-pack; gives what it reports of each ref: nothing is fine."""
    first, *rest = commands
    body = wire.line(first + b"\0 report-status") + b"".join(map(wire.line, rest))
    options = [part for setting in config for part in ("-c", setting)]
    done = subprocess.run(
        ["git", *options, "receive-pack", str(git.path)],
        input=body + b"0000" + pack,
        env=git.env,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return outcomes(done.stdout.partition(b"\n0000")[2] or done.stdout)


def outcomes(report: bytes) -> dict[bytes, bytes]:
    """Read a report: why each ref is refused; nothing if it is not."""
    found = {}
    position = report.find(b"unpack ") - 4
    while 0 <= position < len(report):
        size = int(report[position : position + 4], 16)
        if size < 4:
            break
        words = report[position + 4 : position + size].rstrip(b"\n").split(b" ", 2)
        if words[0] in (b"ok", b"ng"):
            found[words[1]] = words[2] if len(words) > 2 else b""
        position += size
    return found
