"""git and we write to one repository in turns, at random: neither may ever disagree.

Our container stays open all the time, as in a server, and so has to notice each of git's writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.compare import as_far_as_known, shown_reflogs
from support.git import Git, requires_git
from support.model import Note, RefModel
from support.pool import ObjectPool
from support.writers import Change, ContainerWriter, GitWriter, Refused, Writer

import dulwich_reftable as dr

BRANCHES = [b"refs/heads/b%02d" % at for at in range(16)]
FILES_AND_DIRECTORIES = [b"refs/heads/d", b"refs/heads/d/e", b"refs/heads/d/e/f", b"refs/heads/d/g"]
OTHERS = [b"refs/tags/t%d" % at for at in range(8)] + [
    b"refs/changes/%02d/%d/1" % (at, at) for at in range(8)
]
SYMREFS = [b"refs/heads/s%d" % at for at in range(4)]
DIRECT = BRANCHES + FILES_AND_DIRECTORIES + OTHERS

COMMITTERS = [b"C O Mitter <committer@example.com>", "Zoë Ünïcode <zoë@example.org>".encode()]
TIMEZONES = [0, 19800, -12600, 45900, -36000]


class Orders:
    """Random orders that fit the model; an order is carried out by a writer and by the model."""

    def __init__(self, seed: int, model: RefModel, pool: ObjectPool) -> None:
        self.random = random.Random(seed)
        self.model = model
        self.commits = pool.commits
        self.objects = [*pool.commits[: len(pool.tags)], *pool.tags]

    def note(self) -> Note:
        """What the next order says for the reflog."""
        return Note(
            self.random.choice(COMMITTERS),
            self.random.randrange(1_500_000_000, 1_600_000_000),
            self.random.choice(TIMEZONES),
            self.random.choice([b"push:  %d", b"reset: to\t%d "]) % self.random.randrange(9999),
        )

    def give(self, writer: Writer) -> None:
        """Give the writer a random order; the model follows it."""
        orders = [self.transaction, self.refused, self.symref, self.expire, self.drop, self.compact]
        order = self.random.choices(orders, weights=[70, 10, 9, 3, 4, 4])[0]
        order(writer)

    def transaction(self, writer: Writer) -> None:
        """Some refs set or deleted, HEAD and symrefs followed."""
        changes = self.changes()
        note = self.note()
        writer.apply(changes, note)
        for change in changes:
            if change.new is None:
                self.model.delete(change.name, note)
            else:
                self.model.put(change.name, change.new, note)

    def refused(self, writer: Writer) -> None:
        """A transaction of which one line cannot be met."""
        model = self.model
        changes = self.changes()
        wrong = [Change(name, self.value(name), self.absent(name)) for name in DIRECT]
        gone = [change.name for change in changes if change.new is None]
        wrong += [
            Change(name, self.value(name))
            for name in FILES_AND_DIRECTORIES
            if model.conflicts(name, gone)  # where git refuses even if the other goes, we do not
        ]
        taken = {real for change in changes for real in model.chain(change.name)}
        wrong = [change for change in wrong if change.name not in taken]
        changes.insert(self.random.randint(0, len(changes)), self.random.choice(wrong))
        with pytest.raises(Refused):
            writer.apply(changes, self.note())

    def absent(self, name: bytes) -> bytes:
        """An old value that the ref has not."""
        return self.commits[-1] if name not in self.model.refs else self.model.zero

    def changes(self) -> list[Change]:
        """Up to six changes of different refs that can all be made."""
        count = self.random.choice([1, 1, 1, 2, 3, 6])
        candidates = self.random.sample([*DIRECT, *SYMREFS, b"HEAD"], 20)
        chosen: list[Change] = []
        taken: set[bytes] = set()
        for name in candidates:
            names = self.model.chain(name)
            if name in SYMREFS and len(names) == 1:
                continue  # not yet a symref
            if taken.intersection(names) or self.in_the_way(names[-1], taken):
                continue
            taken.update(names)
            chosen.append(self.change(name, names[-1]))
        return chosen[:count]

    def in_the_way(self, name: bytes, others: set[bytes]) -> bool:
        """Tell whether a directory is named as a ref is; git minds even if that goes as well."""
        if name not in FILES_AND_DIRECTORIES:
            return False
        return bool(others.intersection(FILES_AND_DIRECTORIES)) or self.model.conflicts(name)

    def change(self, name: bytes, real: bytes) -> Change:
        """A change of one ref, expecting what is there or nothing in particular."""
        there = self.model.refs.get(real)
        if name != b"HEAD" and there is not None and self.random.random() < 0.25:
            return Change(name, None, self.random.choice([None, there] if name == real else [None]))
        return Change(name, self.value(real), self.random.choice([None, there or self.model.zero]))

    def value(self, name: bytes) -> bytes:
        """An id that git accepts there, branches hold commits, and that is not there now.

        Of a branch that stays as it is, git writes nothing but an entry to HEAD's reflog.
        """
        values = self.commits if name.startswith(b"refs/heads/") else self.objects
        return self.random.choice([value for value in values if value != self.model.refs.get(name)])

    def symref(self, writer: Writer) -> None:
        """A symref of a branch, born or unborn."""
        name = self.random.choice([*SYMREFS, b"HEAD"])
        target = self.random.choice(BRANCHES)
        note = self.note()
        writer.set_symref(name, target, note)
        self.model.set_symref(name, target, note)

    def expire(self, writer: Writer) -> None:
        """Old entries of one reflog go."""
        if name := self.logged():
            limit = self.random.randrange(1_490_000_000, 1_600_000_000)
            writer.expire(name, limit)
            self.model.expire(name, limit)

    def drop(self, writer: Writer) -> None:
        """One reflog entry goes."""
        if name := self.logged():
            index = self.random.randrange(len(self.model.logs[name]))
            writer.drop_entry(name, index)
            self.model.drop_entry(name, index)

    def logged(self) -> bytes | None:
        """A reflog with entries, of a ref that leads somewhere."""
        names = [n for n, log in self.model.logs.items() if log and self.model.resolve(n)]
        return self.random.choice(sorted(names)) if names else None

    def compact(self, writer: Writer) -> None:
        """Nothing changes but the tables."""
        writer.compact()


@requires_git
@pytest.mark.parametrize(("object_format", "seed"), [("sha1", 1), ("sha256", 3)])
def test_writers_in_turns(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    object_format: str,
    seed: int,
) -> None:
    pool = pool_of(object_format)
    config = {"core.logAllRefUpdates": "always", "core.fsync": "none"}
    git = Git.init(tmp_path / "repo", object_format=object_format, config=config)
    pool.lend(git.git_dir)
    refs = open_repo(git.path).refs
    model = RefModel(git.zero, {b"HEAD": b"ref: refs/heads/main"})
    orders = Orders(seed, model, pool)
    writers: list[Writer] = [GitWriter(git), ContainerWriter(refs)]
    for step in range(180):
        orders.give(orders.random.choice(writers))
        assert dict(refs.iter_refs()) == model.refs, f"step {step}"
        assert git.raw_refs(model.dangling()) == model.refs, f"step {step}"
        if step % 10 == 0:
            assert shown_reflogs(refs) == model.logs, f"step {step}"
            theirs = git.reflogs()
            assert as_far_as_known(model.logs, theirs) == theirs, f"step {step}"
    assert len(model.logs) > 20
    _lead_somewhere(model, refs, pool.commits[0])
    assert git.complaints() == b""


def _lead_somewhere(model: RefModel, refs: dr.ReftableRefsContainer, commit: bytes) -> None:
    """Let no symref dangle any more: git's checker calls that an error."""
    for name in model.dangling():
        refs[name] = commit
