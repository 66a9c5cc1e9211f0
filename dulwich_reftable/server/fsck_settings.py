# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository says about checking the objects of a push.

The keys are git's: ``receive.fsckObjects``, else ``transfer.fsckObjects``; ``receive.fsck.<name>``
for each message, with ``error``, ``warn`` or ``ignore``; and ``receive.fsck.skipList``, a file of
object ids. The messages and what they count for are those of ``git help fsck``; in a push a warning
counts as an error unless it is configured, and an info does not count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dulwich.config import Config, StackedConfig

from .errors import PackError

__all__ = ["FsckSettings"]

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
    """Which objects are refused.

    Attributes:
      severities: by message in lower case what is configured, as it is written
      skipped: hex ids of objects that may be as they are
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
    def of(cls, config: Config) -> FsckSettings | None:
        """Read them from a configuration; None if objects are not checked.

        Raises:
          PackError: if the settings make no sense: then nothing can be said to be checked
        """
        if not _is_on(config):
            return None
        severities: dict[str, str] = {}
        skipped: set[bytes] = set()
        for key, value in _values(config):
            if key == "skiplist":
                skipped |= _read_list(os.path.expanduser(value))
            if key not in _KNOWN:
                continue
            if value not in ("error", "warn", "ignore"):
                raise PackError(f"receive.fsck.{key} has an unknown value")
            if key in _FATAL_NAMES and value != "error":
                raise PackError(f"receive.fsck.{key} cannot be less than an error")
            severities[key] = value
        return cls(severities, frozenset(skipped))


def _is_on(config: Config) -> bool:
    for section in (b"receive", b"transfer"):
        try:
            found = config.get_boolean((section,), b"fsckObjects")
        except ValueError:
            return True  # what cannot be understood counts as the safer
        except KeyError:
            continue
        if found is not None:
            return found
    return False


def _values(config: Config) -> Iterator[tuple[str, str]]:
    """Give what is set in ``receive.fsck``, the least binding first."""
    files = reversed(config.backends) if isinstance(config, StackedConfig) else [config]
    for file in files:
        for section in file.sections():
            if len(section) == 2 and section[0].lower() == b"receive" and section[1] == b"fsck":
                for key, value in file.items(section):
                    yield os.fsdecode(key).lower(), os.fsdecode(value).strip()


def _read_list(path: str) -> set[bytes]:
    try:
        with open(path, "rb") as file:
            lines = [line.partition(b"#")[0].strip() for line in file]
    except OSError as error:
        raise PackError(f"receive.fsck.skipList cannot be read: {error.strerror}") from None
    oids = {line for line in lines if line}
    if not all(re.fullmatch(rb"[0-9a-f]{40}|[0-9a-f]{64}", oid) for oid in oids):
        raise PackError("receive.fsck.skipList has a line that is no object id")
    return oids
