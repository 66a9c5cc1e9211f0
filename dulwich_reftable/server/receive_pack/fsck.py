# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Check the objects of a push as ``git fsck`` does, where the repository asks for it.

The checks, their names and their order are those of git's ``fsck.c``. The first message that counts
as an error refuses the push; other messages are ignored. The contents of ``.gitmodules`` and
``.gitattributes`` are checked at the end, when all objects have arrived.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dulwich.objects import Blob, Commit, Tag, Tree

from ...naming.names import is_legal
from ..errors import PackError
from .fsck_names import is_dotgit, special_file
from .fsck_settings import FsckSettings
from .fsck_submodules import check_gitmodules
from .tree_scan import BrokenTreeError, TreeEntry, scan_tree

__all__ = ["ObjectChecker"]

_LONGEST_NAME = 4096
_SYMLINK = 0o120000
_FORMAT = 0o170000
_GOOD_MODES = {0o100755, 0o100644, 0o120000, 0o40000, 0o160000}

_MAX_ATTRIBUTES, _MAX_ATTRIBUTES_LINE = 100 << 20, 2048

_TREE_MESSAGES = {
    "nullSha1": "contains entries pointing to null sha1",
    "fullPathname": "contains full pathnames",
    "hasDot": "contains '.'",
    "hasDotdot": "contains '..'",
    "hasDotgit": "contains '.git'",
    "zeroPaddedFilemode": "contains zero-padded file modes",
    "badFilemode": "contains bad file modes",
    "duplicateEntries": "contains duplicate file entries",
    "treeNotSorted": "not properly sorted",
    "largePathname": "contains excessively large pathname",
}

_TYPES = (b"commit", b"tree", b"blob", b"tag")

_UP_TO_BRACKET = re.compile(rb"[^<>\n]*")
_DATE = re.compile(rb"[ \t]*(\d*)")
_ZONE = re.compile(rb"[+-]\d{4}\n")


class ObjectChecker:
    """Checks objects one by one.

    Args:
      settings: which messages count
      id_length: bytes of an object id
    """

    def __init__(self, settings: FsckSettings, id_length: int) -> None:
        self._settings = settings
        self._id_length = id_length
        self._hex = re.compile(rb"[0-9a-f]{%d}\n" % (2 * id_length))
        self._modules: set[bytes] = set()
        self._attributes: set[bytes] = set()
        self._oid = b""

    def __call__(self, type_num: int, oid: bytes, data: bytes, /) -> None:
        """Check a commit, a tree or a tag.

        Raises:
          PackError: if it is refused
        """
        self._oid = oid
        check = {Commit.type_num: self._commit, Tree.type_num: self._tree, Tag.type_num: self._tag}
        check[type_num](data)

    def finish(self, read: Callable[[bytes], tuple[int, bytes]]) -> None:
        """Check the ``.gitmodules`` and ``.gitattributes`` that trees have named.

        Args:
          read: takes a hex id and gives the object's type and content; KeyError if there is none
        Raises:
          PackError: if one is refused
        """
        for oids, name in ((self._modules, "gitmodules"), (self._attributes, "gitattributes")):
            for oid in sorted(oids):
                self._oid = oid
                try:
                    type_num, data = read(oid)
                except KeyError:
                    self._report(f"{name}Missing", f"unable to read .{name} blob")
                    continue
                if type_num != Blob.type_num:
                    self._report(f"{name}Blob", f"non-blob found at .{name}")
                elif name == "gitmodules":
                    for message, text in check_gitmodules(data):
                        self._report(message, text)
                elif len(data) > _MAX_ATTRIBUTES:
                    self._report("gitattributesLarge", ".gitattributes too large to parse")
                elif any(len(line) >= _MAX_ATTRIBUTES_LINE for line in data.split(b"\n")):
                    self._report("gitattributesLineLength", ".gitattributes has too long lines")

    def _report(self, message: str, text: str) -> None:
        if self._settings.refuses(message) and self._oid not in self._settings.skipped:
            raise PackError(f"object {self._oid.decode()}: {message}: {text}")

    # Trees

    def _tree(self, data: bytes) -> None:
        found: set[str] = set()
        order = _Order()
        try:
            for entry in scan_tree(data, self._id_length):
                self._entry(entry, found)
                found |= order.check(entry)
        except BrokenTreeError as error:
            self._report("badTree", str(error))
        for message, text in _TREE_MESSAGES.items():
            if message in found:
                self._report(message, text)

    def _entry(self, entry: TreeEntry, found: set[str]) -> None:
        mode, name = int(entry.mode[-6:], 8) & 0xFFFF, entry.name
        if not entry.oid.strip(b"\0"):
            found.add("nullSha1")
        if b"/" in name:
            found.add("fullPathname")
        if name in (b".", b".."):
            found.add("hasDot" if name == b"." else "hasDotdot")
        if is_dotgit(name):
            found.add("hasDotgit")
        if entry.mode.startswith(b"0"):
            found.add("zeroPaddedFilemode")
        if len(name) > _LONGEST_NAME:
            found.add("largePathname")
        if mode not in _GOOD_MODES:
            found.add("badFilemode")
        special = special_file(name)
        if special is None:
            return
        if mode & _FORMAT == _SYMLINK:
            self._report(f"{special}Symlink", f".{special} is a symbolic link")
        elif special == "gitmodules":
            self._modules.add(entry.oid.hex().encode())
        elif special == "gitattributes":
            self._attributes.add(entry.oid.hex().encode())

    # Commits and tags

    def _commit(self, data: bytes) -> None:
        lines = self._lines(data)
        if not lines.skip(b"tree "):
            return self._report("missingTree", "invalid format - expected 'tree' line")
        if not lines.take(self._hex):
            self._report("badTreeSha1", "invalid 'tree' line format - bad sha1")
        while lines.skip(b"parent "):
            if not lines.take(self._hex):
                self._report("badParentSha1", "invalid 'parent' line format - bad sha1")
        authors = 0
        while lines.skip(b"author "):
            authors += 1
            self._identity(lines)
        if authors < 1:
            self._report("missingAuthor", "invalid format - expected 'author' line")
        elif authors > 1:
            self._report("multipleAuthors", "invalid format - multiple 'author' lines")
        if not lines.skip(b"committer "):
            return self._report("missingCommitter", "invalid format - expected 'committer' line")
        self._identity(lines)
        if b"\0" in data:
            self._report("nulInCommit", "NUL byte in the commit object body")
        return None

    def _tag(self, data: bytes) -> None:
        lines = self._lines(data)
        if not lines.skip(b"object "):
            return self._report("missingObject", "invalid format - expected 'object' line")
        if not lines.take(self._hex):
            self._report("badObjectSha1", "invalid 'object' line format - bad sha1")
        if not lines.skip(b"type "):
            return self._report("missingTypeEntry", "invalid format - expected 'type' line")
        if lines.rest() not in _TYPES:
            self._report("badType", "invalid 'type' value")
        if not lines.skip(b"tag "):
            return self._report("missingTagEntry", "invalid format - expected 'tag' line")
        if not is_legal(b"refs/tags/" + lines.rest()):
            self._report("badTagName", "invalid 'tag' name")
        if lines.skip(b"tagger "):
            self._identity(lines)
        else:
            self._report("missingTaggerEntry", "invalid format - expected 'tagger' line")
        if lines.skip(b"gpgsig ") or lines.skip(b"gpgsig-sha256 "):
            lines.rest()
            while lines.skip(b" "):
                lines.rest()
        if not lines.is_over and not lines.skip(b"\n"):
            self._report("extraHeaderEntry", "invalid format - extra header(s) after 'tagger'")
        return None

    def _lines(self, data: bytes) -> _Lines:
        """Check that headers end in a newline, and that there is no NUL in them."""
        end = data.find(b"\n\n")
        head = data if end < 0 else data[:end]
        if b"\0" in head:
            self._report("nulInHeader", "unterminated header: NUL in it")
        if end < 0 and not data.endswith(b"\n"):
            self._report("unterminatedHeader", "unterminated header")
        return _Lines(data)

    def _identity(self, lines: _Lines) -> None:
        """Check a name, an address, a time and a time zone, up to the end of the line."""
        line = lines.rest() + b"\n"
        said = "invalid author/committer line - "
        if line.startswith(b"<"):
            return self._report("missingNameBeforeEmail", said + "missing space before email")
        at = _bracket(line, 0)
        if line[at : at + 1] != b"<":
            name = "missingEmail" if line[at : at + 1] == b"\n" else "badName"
            return self._report(name, said + ("missing email" if name[0] == "m" else "bad name"))
        if line[at - 1 : at] != b" ":
            return self._report("missingSpaceBeforeEmail", said + "missing space before email")
        at = _bracket(line, at + 1)
        if line[at : at + 1] != b">":
            return self._report("badEmail", said + "bad email")
        if line[at + 1 : at + 2] != b" ":
            return self._report("missingSpaceBeforeDate", said + "missing space before date")
        date = _DATE.match(line, at + 2)
        digits = date[1] if date else b""
        at = date.end() if date else at
        if not digits:
            return self._report("badDate", said + "bad date")
        if digits.startswith(b"0") and digits != b"0":
            return self._report("zeroPaddedDate", said + "zero-padded date")
        if len(digits) > 19 or int(digits) >= 1 << 63:
            return self._report("badDateOverflow", said + "date causes integer overflow")
        if line[at : at + 1] != b" ":
            return self._report("badDate", said + "bad date")
        if not _ZONE.fullmatch(line, at + 1):
            return self._report("badTimezone", said + "bad time zone")
        return None


def _bracket(line: bytes, at: int) -> int:
    """Find the next angle bracket, or the end of the line."""
    found = _UP_TO_BRACKET.match(line, at)
    return found.end() if found else at


class _Lines:
    """The headers of an object, from the first to the last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether the end is reached."""
        return self._at >= len(self._data)

    def skip(self, prefix: bytes) -> bool:
        """Skip a prefix; tell whether it was there."""
        found = self._data.startswith(prefix, self._at)
        self._at += len(prefix) if found else 0
        return found

    def take(self, pattern: re.Pattern[bytes]) -> bool:
        """Skip the rest of the line; tell whether it matches."""
        found = pattern.match(self._data, self._at)
        self.rest()
        return found is not None

    def rest(self) -> bytes:
        """Read the rest of the line."""
        end = self._data.find(b"\n", self._at)
        end = len(self._data) if end < 0 else end
        found = self._data[self._at : end]
        self._at = end + 1
        return found


class _Order:
    """Checks that the entries of a tree are sorted and unique."""

    def __init__(self) -> None:
        self._before: TreeEntry | None = None
        self._files: list[bytes] = []  # a directory of that name may still follow

    def check(self, entry: TreeEntry) -> set[str]:
        """Compare an entry with those before it; gives the names of messages."""
        before, self._before = self._before, entry
        if before is None:
            return set()
        one, two = before.name, entry.name
        shared = min(len(one), len(two))
        if one[:shared] != two[:shared]:
            return {"treeNotSorted"} if one > two else set()
        if one == two:
            return {"duplicateEntries"}
        first = one[shared : shared + 1] or _slash(before)
        second = two[shared : shared + 1] or _slash(entry)
        if not first and b"\0" < second < b"/":
            self._files.append(one)
        elif second == b"/" and b"\0" < first < b"/" and self._has_file(two):
            return {"duplicateEntries"}
        return set() if first < second else {"treeNotSorted"}

    def _has_file(self, name: bytes) -> bool:
        while self._files:
            file = self._files.pop()
            if name == file:
                return True
            if name.startswith(file) and name[len(file) : len(file) + 1] < b"/":
                self._files.append(file)
                return False
        return False


def _slash(entry: TreeEntry) -> bytes:
    return b"/" if entry.type_num == Tree.type_num else b""
