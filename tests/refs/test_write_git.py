"""Thousands of random operations through our API; then git must show exactly what the model says.

Every method that writes takes part. The model foresees each answer and each refusal, so a wrong
return value fails at the operation that gave it and not only at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.compare import as_far_as_known, shown_reflogs
from support.git import Git, requires_git
from support.model import SYMREF, Note, RefModel
from support.pool import ObjectPool

import dulwich_reftable as dr

BRANCHES = [b"refs/heads/b%02d" % at for at in range(24)]
NESTED = [b"refs/heads/d", b"refs/heads/d/e", b"refs/heads/d/e/f", b"refs/heads/d/g"]
CHANGES = [b"refs/changes/%02d/%d/%d" % (at, at, at % 3) for at in range(24)]
TAGS = [b"refs/tags/v%d" % at for at in range(24)]
DIRECT = [*BRANCHES, *NESTED, *CHANGES, *TAGS]
SYMREFS = [b"refs/heads/s%d" % at for at in range(6)]
JUNK = [b"c0ffee", b"", b"ref: refs/heads/b00", b"\xff" * 40]


class Player:
    """Plays random operations on a container and on the model."""

    def __init__(
        self, seed: int, refs: dr.ReftableRefsContainer, model: RefModel, pool: ObjectPool
    ) -> None:
        self.random = random.Random(seed)
        self.refs = refs
        self.model = model
        self.commits = pool.commits
        self.objects = [*pool.commits[: len(pool.tags)], *pool.tags]

    def play(self) -> None:
        """Play one operation, the common ones more often."""
        operations = {
            self.set: 30, self.add: 10, self.remove: 16, self.symref: 8, self.transaction: 20,
            self.rename: 5, self.copy: 5, self.expire: 2, self.drop: 3, self.create_log: 2,
            self.delete_log: 1, self.detach: 1, self.tidy: 1,
        }  # fmt: skip
        self.random.choices(list(operations), weights=list(operations.values()))[0]()

    # -- choices

    def note(self) -> Note | None:
        """What is said for the reflog, if anything."""
        if self.random.random() < 0.3:
            return None
        return Note(
            self.random.choice([b"A <a@example.com>", b"Two Words <t.w@example.org>"]),
            self.random.randrange(1, 2**32),
            self.random.choice([0, 3600, 20700, -12600, -43200, 50400]),
            self.random.choice([b"", b"x", b" several\n\n words\tand %d " % len(self.model.refs)]),
        )

    def about(self, note: Note | None) -> dict[str, Any]:
        """The keywords that say a note; without a message there is nothing to log."""
        return note._asdict() if note else {}

    def value(self, name: bytes) -> bytes:
        """An id that git accepts there: branches hold commits, other refs anything."""
        branch = name.startswith(b"refs/heads/") or name == b"HEAD"
        return self.random.choice(self.commits if branch else self.objects)

    def old(self, there: bytes | None) -> tuple[bytes | None, bool]:
        """An expected old value, and whether it is met where `there` is the value."""
        zero = self.model.zero
        right = zero if there is None else there
        old = self.random.choice([None, None, right, right, zero, self.random.choice(JUNK)])
        return old, old is None or old == right

    def existing(self, names: list[bytes]) -> bytes | None:
        """One of the names that exist."""
        there = [name for name in names if name in self.model.refs]
        return self.random.choice(there) if there else None

    # -- one ref

    def set(self) -> None:
        """set_if_equals: follows symrefs, minds the old value, refuses a file as a directory."""
        name = self.random.choice([*DIRECT, *SYMREFS, b"HEAD"])
        real = self.model.chain(name)[-1]
        note = self.note()
        new = self.value(real)
        old, met = self.old(self.model.refs.get(real))
        if self.model.conflicts(real):
            if old is None:
                with pytest.raises(dr.RefConflictError):
                    self.refs.set_if_equals(name, old, new, **self.about(note))
            return
        assert self.refs.set_if_equals(name, old, new, **self.about(note)) is met
        if met:
            self.model.put(name, new, note)

    def add(self) -> None:
        """add_if_new: follows symrefs, too."""
        name = self.random.choice([*DIRECT, *SYMREFS, b"HEAD"])
        real = self.model.chain(name)[-1]
        note = self.note()
        new = self.value(real)
        if self.model.conflicts(real):
            with pytest.raises(dr.RefConflictError):
                self.refs.add_if_new(name, new, **self.about(note))
            return
        absent = real not in self.model.refs
        assert self.refs.add_if_new(name, new, **self.about(note)) is absent
        if absent:
            self.model.put(name, new, note)

    def remove(self) -> None:
        """remove_if_equals: takes the symref itself."""
        name = self.random.choice([*DIRECT, *SYMREFS])
        note = self.note()
        old, met = self.old(self.model.refs.get(name))
        assert self.refs.remove_if_equals(name, old, **self.about(note)) is met
        if met:
            self.model.delete(name, note)

    def symref(self) -> None:
        """set_symbolic_ref: of born and unborn branches, over anything."""
        name = self.random.choice([*SYMREFS, b"HEAD"])
        target = self.random.choice(BRANCHES)
        note = self.note()
        self.refs.set_symbolic_ref(name, target, **self.about(note))
        self.model.set_symref(name, target, note)

    def detach(self) -> None:
        """HEAD away from its branch, as dulwich does it: deleted, then set."""
        note = self.note()
        commit = self.value(b"HEAD")
        del self.refs[b"HEAD"]
        self.model.delete(b"HEAD")
        assert self.refs.set_if_equals(b"HEAD", self.model.zero, commit, **self.about(note))
        self.model.put(b"HEAD", commit, note)

    # -- several at once

    def transaction(self) -> None:
        """All kinds of changes at once; every sixth transaction asks for what is not so."""
        model = self.model
        names = self.random.sample(DIRECT, self.random.choice([1, 2, 5, 12]))
        note = self.note()
        deleted = {n for n in names if n in model.refs and self.random.random() < 0.4}
        written = [n for n in names if n not in deleted]
        kept = [n for n in model.refs if n not in deleted]
        clash = any(
            a.startswith(b + b"/") or b.startswith(a + b"/")
            for a in written
            for b in [*written, *kept]
        )
        fails = self.random.random() < 1 / 6
        values = {name: self.value(name) for name in written}
        if clash or fails:
            with pytest.raises(dr.ReftableError):
                self.run_transaction(names, values, note, fails)
            return
        self.run_transaction(names, values, note, fails)
        for name in sorted(deleted):  # first, since one may be in the way of another
            model.delete(name, note)
        for name in written:
            model.put(name, values[name], note)

    def run_transaction(
        self, names: list[bytes], values: dict[bytes, bytes], note: Note | None, fails: bool
    ) -> None:
        """Set what has a value and delete the others."""
        with self.refs.transaction(**self.about(note)) as transaction:
            for name in names:
                there = self.model.refs.get(name)
                if name not in values:
                    transaction.delete(name, self.random.choice([None, there]))
                elif there is None and self.random.random() < 0.7:
                    transaction.create(name, values[name])
                else:
                    old = there or self.model.zero
                    transaction.update(name, values[name], self.random.choice([None, old]))
            if fails:
                unmet = self.random.choice([n for n in DIRECT if n not in names])
                there = self.model.refs.get(unmet)
                transaction.verify(unmet, self.model.zero if there else self.commits[0])

    def move(self, method: Callable[[bytes, bytes], object], follow: Callable[..., None]) -> None:
        """Rename or copy a branch that is not HEAD's; the new name must be free."""
        model = self.model
        old = self.existing([*BRANCHES, *CHANGES])
        new = self.random.choice([*BRANCHES, *CHANGES])
        if old in (None, new) or old.split(b"/")[1] != new.split(b"/")[1]:
            return  # refs/changes may hold what a branch may not
        if model.refs.get(b"HEAD") in (SYMREF + old, SYMREF + new):
            return
        if new in model.refs:
            with pytest.raises(dr.ReftableError):
                method(old, new)
            return
        method(old, new)
        follow(old, new)

    def rename(self) -> None:
        """A ref and its reflog get another name."""
        self.move(self.refs.rename, self.model.rename)

    def copy(self) -> None:
        """A ref and its reflog twice."""
        self.move(self.refs.copy, self.model.copy)

    # -- reflogs

    def logged(self) -> bytes | None:
        """A reflog with entries."""
        names = sorted(name for name, log in self.model.logs.items() if log)
        return self.random.choice(names) if names else None

    def expire(self) -> None:
        """Old entries go, of unreachable objects the newer ones as well."""
        if not (name := self.logged()):
            return
        earlier, later = sorted(self.random.choices(range(2**32), k=2))
        limits = earlier // 8, later
        reachable = set(self.random.sample(self.objects, len(self.objects) // 2))
        expected = self.model.expire(name, *limits, reachable.__contains__)
        assert expected == self.refs.expire_reflog(
            name,
            expire_time=limits[0],
            expire_unreachable_time=limits[1],
            reachable_checker=reachable.__contains__,
        )

    def drop(self) -> None:
        """One entry goes."""
        if name := self.logged():
            index = self.random.randrange(len(self.model.logs[name]))
            rewrite = self.random.random() < 0.5
            self.refs.drop_reflog_entry(name, index, rewrite=rewrite)
            self.model.drop_entry(name, index, rewrite)

    def create_log(self) -> None:
        """A reflog without entries, unless there is one."""
        if name := self.existing(DIRECT):
            self.refs.create_reflog(name)
            self.model.logs.setdefault(name, [])

    def delete_log(self) -> None:
        """A reflog goes, the ref stays."""
        if name := self.existing(DIRECT):
            self.refs.delete_reflog(name)
            self.model.logs.pop(name, None)

    def tidy(self) -> None:
        """Compacting changes nothing that is shown."""
        self.random.choice([self.refs.compact, self.refs.auto_compact, self.refs.clean])()


@requires_git
@pytest.mark.parametrize(
    ("object_format", "bare", "seed", "count"),
    [("sha1", False, 11, 1500), ("sha1", True, 12, 800), ("sha256", False, 13, 800)],
)
def test_git_shows_what_we_wrote(
    tmp_path: Path,
    open_repo: Callable[[Path], dr.Repo],
    pool_of: Callable[[str], ObjectPool],
    object_format: str,
    bare: bool,
    seed: int,
    count: int,
) -> None:
    pool = pool_of(object_format)
    git = Git.init(
        tmp_path / "repo", bare=bare, object_format=object_format, config={"core.fsync": "none"}
    )
    pool.lend(git.git_dir)
    refs = open_repo(git.path).refs
    model = RefModel(git.zero, {b"HEAD": b"ref: refs/heads/main"})
    player = Player(seed, refs, model, pool)
    for step in range(count):
        player.play()
        if step % 50 == 0:
            assert dict(refs.iter_refs()) == model.refs, f"step {step}"
            assert shown_reflogs(refs) == model.logs, f"step {step}"
    for name in model.dangling():  # a symref to nowhere is an error for git's checker
        model.put(name, pool.commits[0])
        refs[name] = pool.commits[0]

    assert git.raw_refs() == model.refs
    theirs = git.reflogs()
    assert as_far_as_known(model.logs, theirs) == theirs
    assert sum(map(len, theirs.values())) > count // 20
    peeled = {name: ref.peeled for name, ref in git.for_each_ref().items() if ref.peeled}
    assert peeled == {n: pool.tags[v] for n, v in model.refs.items() if v in pool.tags}
    assert git.complaints() == b""
    # A container opened afresh sees no less than the one that wrote it all.
    assert dict(open_repo(git.path).refs.iter_refs()) == model.refs
