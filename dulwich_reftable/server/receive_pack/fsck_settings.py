# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about checks of pushed objects.

The keys are git's: ``receive.fsckObjects``, else ``transfer.fsckObjects``; ``receive.fsck.<name>``
for each message, with ``error``, ``warn`` or ``ignore``; and ``receive.fsck.skipList``, a file of
object ids. The messages and their severities are those of ``git help fsck``. In a push, a warning
counts as an error unless it is configured, and an info does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dulwich.config import Config

from ...config.types import pathname
from ...config.values import read_value

__all__ = ["FsckSettings"]

_SECTION = (b"receive", b"fsck")

_FATAL = "nulInHeader unterminatedHeader"

_ERRORS = """
badHeaderContinuation badDate badDateOverflow badEmail badGpgsig badName badObjectSha1
badParentSha1 badTimezone badTree badTreeSha1 badType duplicateEntries gitattributesBlob
gitattributesLarge gitattributesLineLength gitattributesMissing gitmodulesBlob gitmodulesLarge
gitmodulesMissing gitmodulesName gitmodulesPath gitmodulesSymlink gitmodulesUpdate gitmodulesUrl
missingAuthor missingCommitter missingEmail missingNameBeforeEmail missingObject
missingSpaceBeforeDate missingSpaceBeforeEmail missingTag missingTagEntry missingTree missingType
missingTypeEntry multipleAuthors treeNotSorted unknownType zeroPaddedDate
emptyName fullPathname hasDot hasDotdot hasDotgit largePathname nullSha1 nulInCommit
zeroPaddedFilemode
"""

_WARNINGS = """
badFilemode badTagName gitattributesSymlink gitignoreSymlink gitmodulesParse mailmapSymlink
missingTaggerEntry extraHeaderEntry
"""

_KNOWN = {name.lower() for name in f"{_FATAL} {_ERRORS} {_WARNINGS}".split()}
_ERROR_NAMES = {name.lower() for name in f"{_FATAL} {_ERRORS}".split()}
_FATAL_NAMES = set(_FATAL.lower().split())


@dataclass(frozen=True)
class FsckSettings:
    """Tells which messages refuse a push.

    Attributes:
      severities: the configured severities, by message in lower case
      skipped: hex ids of objects that are never refused
    """

    severities: Mapping[str, str] = field(default_factory=dict)
    skipped: frozenset[bytes] = frozenset()

    def refuses(self, message: str) -> bool:
        """Tell whether a message refuses a push.

        Args:
          message: such as ``"hasDotgit"``
        """
        key = message.lower()
        severity = self.severities.get(key)
        return key in _ERROR_NAMES if severity is None else severity == "error"

    @classmethod
    def of(cls, config: Config, items: Iterable[tuple[bytes, bytes]]) -> FsckSettings:
        """Read them from a configuration.

        Args:
          config: of the repository
          items: keys in lower case and values of ``receive.fsck``, the least binding first
        Raises:
          ConfigurationError: if a value is not possible
        """
        severities: dict[str, str] = {}
        skipped: set[bytes] = set()
        for key, value in items:
            name = key.decode(errors="replace")
            if name == "skiplist":
                skipped |= read_value(config, _SECTION, key, value, _skip_list)
            elif name in _KNOWN:
                read = _fatal if name in _FATAL_NAMES else _severity
                severities[name] = read_value(config, _SECTION, key, value, read)
        return cls(severities, frozenset(skipped))


def _severity(text: bytes) -> str:
    if text not in (b"error", b"warn", b"ignore"):
        raise ValueError("not one of 'error', 'warn' and 'ignore'")
    return text.decode()


def _fatal(text: bytes) -> str:
    if _severity(text) != "error":
        raise ValueError("this message cannot be less than an error")
    return "error"


def _skip_list(text: bytes) -> set[bytes]:
    """Read the ids of objects that are never refused, from a file."""
    path = pathname(text)
    if path is None:
        return set()
    try:
        with open(path, "rb") as file:
            lines = [line.partition(b"#")[0].strip() for line in file]
    except OSError as error:
        raise ValueError(error.strerror) from None
    oids = {line for line in lines if line}
    if not all(re.fullmatch(rb"[0-9a-f]{40}|[0-9a-f]{64}", oid) for oid in oids):
        raise ValueError("the file has a line that is no object id")
    return oids
