"""Objects that are made once a run and then copied into every test repository.

git lets no ref point at an object that is not there, and ``git fsck`` follows all of them. To make
a few hundred commits and tags anew for each test would cost more than the tests themselves.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .git import Git

COMMITS = 600
TAGS = 200


@dataclass(frozen=True)
class ObjectPool:
    """Commits and annotated tags that refs may point at."""

    git: Git
    commits: list[bytes]
    tags: dict[bytes, bytes]
    """Each tag object with the object that it peels to; one tags a blob and one a tag."""

    @property
    def object_format(self) -> str:
        """The hash of the objects: ``sha1`` or ``sha256``."""
        return self.git.object_format

    def lend(self, git_dir: Path) -> None:
        """Put the pool's objects, one pack of them, into the repository at `git_dir`."""
        for file in (self.git.path / "objects" / "pack").iterdir():
            shutil.copy(file, git_dir / "objects" / "pack")


def fill_pool(path: Path, object_format: str) -> ObjectPool:
    """Make the objects, in one process."""
    git = Git.init(path, bare=True, object_format=object_format, ref_format="files")
    marks = path / "marks"
    git.run(
        "-c",
        "fastimport.unpackLimit=1",
        "fast-import",
        "--quiet",
        f"--export-marks={marks}",
        stdin=_fast_import_text(),
    )
    by_mark = dict(line.split() for line in marks.read_bytes().splitlines())
    commits = [by_mark[b":%d" % mark] for mark in range(1, COMMITS + 1)]
    assert not list((path / "objects").glob("??")), "a loose object would not be lent"
    tags = {ref.value: ref.peeled for ref in git.for_each_ref().values() if ref.peeled}
    assert len(tags) == TAGS + 2
    return ObjectPool(git, commits, tags)


def _fast_import_text() -> bytes:
    who = b"P Ool <pool@example.com> 1600000000 +0000"
    text = []
    for mark in range(1, COMMITS + 1):
        text.append(b"commit refs/heads/pool\nmark :%d\ncommitter %s\ndata 6\nc%05d\n" % (
            mark, who, mark,
        ))  # fmt: skip
    text.append(b"blob\nmark :%d\ndata 5\nblob\n\n" % (COMMITS + 1))
    targets = [*range(1, TAGS + 1), COMMITS + 1, COMMITS + 2]  # the last two: a blob, a tag
    for mark, target in enumerate(targets, COMMITS + 2):
        text.append(b"tag t%d\nmark :%d\nfrom :%d\ntagger %s\ndata 4\ntag\n\n" % (
            mark, mark, target, who,
        ))  # fmt: skip
    return b"".join(text)
