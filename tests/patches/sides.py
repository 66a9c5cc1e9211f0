"""One story told twice, on a reftable repository and on a files one, with the same clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from support.git import Git, LogEntry

import dulwich_reftable as dr

WHO = b"U Ser <user@example.com>"
START = 1_600_000_000
FORMATS = ("files", "reftable")


class Clock:
    """What ``time.time()`` says: the same in both tellings, and later at every step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = float(START)
        patch.setattr(time, "time", lambda: self.now)

    def set(self, step: int) -> None:
        self.now = float(START + 60 * step)


def fix_identity(patch: pytest.MonkeyPatch) -> None:
    """Let dulwich, and git through it, work under one name."""
    for key, value in Git.identity("U Ser", "user@example.com").items():
        patch.setenv(key, value)


@dataclass
class Side:
    """One repository of the story.

    Attributes:
      root: directory that everything of this side is below
      ref_format: of the repository
      repo: what porcelain is given: a path, or a repository opened with our class
    """

    root: Path
    ref_format: str
    repo: Any

    @property
    def path(self) -> Path:
        return self.root / "work"

    @property
    def git(self) -> Git:
        return Git(self.path)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the work tree and stage it."""
        path = self.path / name
        path.write_text(text)
        porcelain.add(self.repo, [str(path)])
        return path

    def commit(self, name: str, text: str, message: str | None = None) -> bytes:
        """Commit one file."""
        self.write(name, text)
        said = (message or f"{name}: {text}").encode()
        return bytes(porcelain.commit(self.repo, message=said, author=WHO, committer=WHO))

    def opened(self) -> Repo:
        """Open the repository as the story does; the caller closes it."""
        return type(self.repo)(str(self.path)) if isinstance(self.repo, Repo) else Repo(self.path)


def make_side(root: Path, ref_format: str, *, explicit: bool) -> Side:
    """Make an empty repository.

    Args:
      root: where
      ref_format: its format
      explicit: whether it shall be a repository object of ours, or a path
    """
    path = root / "work"
    path.mkdir(parents=True)
    made = dr.Repo.init(str(path), ref_format=ref_format, default_branch=b"main")
    config = made.get_config()
    config.set((b"core",), b"fsync", b"none")
    config.write_to_path()
    if explicit:
        return Side(root, ref_format, made)
    made.close()
    return Side(root, ref_format, str(path))


@pytest.fixture(params=["path", "repo"])
def side(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Side]:
    """A reftable repository with two commits; used by its path, or by an object of our class."""
    fix_identity(monkeypatch)
    explicit = request.param == "repo"
    made = make_side(tmp_path, "reftable", explicit=explicit)
    if not explicit:
        dr.install()
    made.commit("a", "one")
    made.commit("a", "two")
    yield made
    assert_no_strays(made.path / ".git")
    assert made.git.complaints() == b""
    if explicit:
        made.repo.close()
    dr.uninstall()


@pytest.fixture(params=["path", "repo"])
def sides(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Side]]:
    """Give both sides; porcelain gets paths with us installed, or our Repo with us not."""
    fix_identity(monkeypatch)
    explicit = request.param == "repo"
    made = [make_side(tmp_path / name, name, explicit=explicit) for name in FORMATS]
    if explicit:
        yield made
        for side in made:
            side.repo.close()
    else:
        with dr.installed():
            yield made
    for side in made:
        if side.ref_format == "reftable":
            assert_no_strays(side.path / ".git")


def tell(sides: list[Side], act: Callable[[Side], Any]) -> Any:
    """Do something on all sides; the answers must agree, and are told without the paths."""
    first, *others = [_told(act(side), side) for side in sides]
    for other in others:
        assert first == other
    return first


def _told(answer: Any, side: Side) -> Any:
    """Give an answer in a form that can be compared."""
    if isinstance(answer, Iterator):
        answer = list(answer)
    if isinstance(answer, str):
        return answer.replace(str(side.root), "ROOT")
    if isinstance(answer, bytes):
        return answer.replace(os.fsencode(side.root), b"ROOT")
    if isinstance(answer, tuple) and not hasattr(answer, "_fields"):
        return tuple(_told(part, side) for part in answer)
    if isinstance(answer, list):
        return [_told(part, side) for part in answer]
    if isinstance(answer, dict):
        return {_told(key, side): _told(value, side) for key, value in answer.items()}
    if hasattr(answer, "__dict__"):
        public = {name: value for name, value in vars(answer).items() if name[:1] != "_"}
        return {"": type(answer).__mro__[-2].__name__, **_told(public, side)}
    return answer


@dataclass(frozen=True)
class View:
    """What git sees of a repository."""

    refs: dict[bytes, bytes]
    reflogs: dict[bytes, list[LogEntry]]


def view(git: Git, *unlisted: bytes) -> View:
    """Ask git.

    Args:
      git: the repository
      *unlisted: symrefs that lead nowhere, of which git has to be asked by name
    """
    reflogs = {
        name: [entry._replace(message=_pathless(entry.message)) for entry in entries]
        for name, entries in git.reflogs().items()
        if entries  # files lose an empty reflog, reftables keep it
    }
    return View(git.raw_refs([b"HEAD", *unlisted]), reflogs)


def _pathless(message: bytes) -> bytes:
    return b" ".join(b"PATH" if word.startswith(b"/") else word for word in message.split())


class Views:
    """What git saw of both sides until now."""

    def __init__(self, sides: list[Side]) -> None:
        self.sides = sides
        self._seen: set[tuple[bytes, int, bytes]] = set()

    def assert_same(self, *unlisted: bytes) -> View:
        """Let git look at both sides."""
        with ThreadPoolExecutor(2) as pool:
            files, reftable = pool.map(lambda side: view(side.git, *unlisted), self.sides)
        assert reftable.refs == files.refs
        # In files, dulwich leaves the reflog of a deleted ref behind.
        kept = {name: log for name, log in files.reflogs.items() if name in files.refs}
        self._assert_reflogs_agree(reftable.reflogs, kept)
        return reftable

    def _assert_reflogs_agree(
        self, ours: dict[bytes, list[LogEntry]], theirs: dict[bytes, list[LogEntry]]
    ) -> None:
        """Compare our reflogs with those that dulwich keeps in files.

        When HEAD is updated, dulwich logs either to HEAD or to its branch in files. git and we log
        to both, also when the branch is updated by its own name. So all entries of the files are
        ours, too; and what we have more has, or had, a twin there that is in another log.
        """
        for entries in theirs.values():
            self._seen.update((e.new, e.timestamp, e.message) for e in entries)
        for name in sorted({*ours, *theirs}):
            mine, found = ours.get(name, []), theirs.get(name, [])
            assert [entry for entry in mine if entry in found] == found, name
            extra = [entry for entry in mine if entry not in found]
            assert {(e.new, e.timestamp, e.message) for e in extra} <= self._seen, name


STUB_HEAD = b"ref: refs/heads/.invalid\n"
STUB_HEADS = b"this repository uses the reftable format\n"
ROOT_REFS = ("ORIG_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "BISECT_HEAD",
             "BISECT_EXPECTED_REV", "AUTO_MERGE", "packed-refs", "logs")  # fmt: skip


def assert_no_strays(control: Path) -> None:
    """Walk a control directory: no ref and no reflog in it is a file."""
    for part in [control, *(control / "worktrees").glob("*")]:
        assert (part / "HEAD").read_bytes() == STUB_HEAD, part
        below = list((part / "refs").rglob("*"))
        assert below == [part / "refs" / "heads"], part
        assert below[0].read_bytes() == STUB_HEADS, part
        for name in ROOT_REFS:
            assert not (part / name).exists(), part / name
        stack = part / "reftable"
        listed = (stack / "tables.list").read_text().split()
        assert {path.name for path in stack.iterdir()} == {"tables.list", *listed}, part
    assert not list(control.rglob("*.lock"))
