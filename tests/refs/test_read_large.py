"""A repository of 60,000 refs that git made, with tombstones and thousands of reflog entries.

It is big enough for every section of a table to need indexes, and the tables are several.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.compare import assert_same_reflogs, assert_same_refs
from support.git import Git, ListedRef, requires_git
from support.pool import ObjectPool
from support.versions import SHA256

import dulwich_reftable as dr

pytestmark = requires_git

UNLOGGED = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.logAllRefUpdates",
    "GIT_CONFIG_VALUE_0": "false",
}
DANGLING = {
    b"refs/heads/zz-nowhere": b"refs/heads/zz-none",
    b"refs/remotes/gone/HEAD": b"refs/remotes/gone/main",
}


@dataclass
class Large:
    """The repository as git made it, what git lists of it, and our container on it."""

    git: Git
    pool: ObjectPool
    repo: dr.Repo
    raw: dict[bytes, bytes]
    listed: dict[bytes, ListedRef]

    @property
    def refs(self) -> dr.ReftableRefsContainer:
        """Our view."""
        return self.repo.refs


def fill(git: Git, pool: ObjectPool) -> None:
    """Make the refs: a table a transaction, the later ones over the earlier ones."""
    commits, tags = pool.commits, list(pool.tags)
    some = random.Random(60_000)
    names = [
        *(b"refs/heads/team-%d/branch-%05d" % (at % 7, at) for at in range(20_000)),
        *(b"refs/tags/light-%05d" % at for at in range(10_000)),
        *(b"refs/changes/%02d/%d/%d" % (at % 100, at, 1 + at % 4) for at in range(20_000)),
    ]
    creations = [b"create %s %s" % (name, some.choice(commits)) for name in names]
    creations += [b"create refs/tags/v%05d %s" % (at, some.choice(tags)) for at in range(8_000)]
    creations += [b"create refs/pull/%d/head %s" % (at, some.choice(tags)) for at in range(2_000)]
    git.update_ref_stdin(creations, b"first", UNLOGGED)
    symrefs = {b"refs/remotes/r%03d/HEAD" % at: some.choice(names[:20_000]) for at in range(600)}
    git.set_symrefs(symrefs)
    for name, target in DANGLING.items():
        git.run("symbolic-ref", name, target)
    for at in range(10):
        moved = some.sample(names[300:20_000], 20)
        lines = [b"update %s %s" % (name, some.choice(commits)) for name in moved + names[:300]]
        moment = Git.date(1_600_000_000 + 1000 * at, 1800 * (at - 5))
        git.update_ref_stdin(lines, b"push %d" % at, moment)
    targets = set(symrefs.values())
    gone = some.sample([name for name in names[300:] if name not in targets], 500)
    git.update_ref_stdin([b"delete %s" % name for name in gone])
    again = [b"create %s %s" % (name, some.choice(commits)) for name in gone[:50]]
    git.update_ref_stdin([*again, b"update HEAD %s" % commits[5]], b"again")


@pytest.fixture(scope="module", params=["sha1", SHA256])
def large(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pool_of: Callable[[str], ObjectPool],
) -> Iterator[Large]:
    """Make the repository once for each hash."""
    pool = pool_of(request.param)
    path = tmp_path_factory.mktemp("large")
    git = Git.init(path, object_format=request.param, compacting=False)
    pool.lend(git.git_dir)
    fill(git, pool)
    assert len(git.tables()) > 5
    listed = git.for_each_ref()
    git.for_each_ref = lambda: listed  # type: ignore[method-assign]  # nothing changes any more
    with dr.Repo(str(path)) as repo:
        yield Large(git, pool, repo, git.raw_refs(DANGLING), listed)


def test_all_refs(large: Large) -> None:
    assert_same_refs(large.refs, large.git, DANGLING)
    assert len(large.raw) > 60_000
    assert large.refs.get_packed_refs() == {
        name: value for name, value in large.raw.items() if not value.startswith(b"ref: ")
    }


def test_all_reflogs(large: Large) -> None:
    logs = assert_same_reflogs(large.refs, large.git)
    assert sum(map(len, logs.values())) > 3000
    for name in random.Random(1).sample(sorted(logs), 40):
        oldest_first = list(large.refs.read_reflog(name))
        assert list(large.refs.read_reflog(name, newest_first=True)) == oldest_first[::-1]
        assert large.refs.reflog_exists(name)
    unlogged = next(name for name in large.raw if name not in logs)
    assert not large.refs.reflog_exists(unlogged)
    assert list(large.refs.read_reflog(unlogged)) == []


def test_lookups(large: Large) -> None:
    """Names in no order: each goes through the indexes by itself."""
    some = random.Random(2)
    for name in some.sample(sorted(large.raw), 3000):
        assert name in large.refs
        assert large.refs.read_ref(name) == large.raw[name]
        assert large.refs.read_loose_ref(name) == large.raw[name]
        if name in DANGLING:
            continue
        listed = large.listed[name]
        assert large.refs[name] == listed.value
        chain, value = large.refs.follow(name)
        assert (chain[0], value) == (name, listed.value)
        assert chain[-1] == (listed.symref or name)


def test_absent_names(large: Large) -> None:
    some = random.Random(3)
    for name in some.sample(sorted(large.raw), 1000):
        cut = some.randint(len(b"refs/"), len(name))
        for absent in (name + b"-", name[:cut] + b"~", name[:-1] + b"!"):
            assert absent not in large.raw
            assert large.refs.read_ref(absent) is None
            assert absent not in large.refs


def test_peeled(large: Large) -> None:
    """The tag's object where git stored it; only of branches it is known that they are no tags."""
    for name in random.Random(5).sample(sorted(large.listed), 6000):
        ref = large.listed[name]
        peeled = large.refs.get_peeled(name)
        if ref.peeled:
            assert peeled == ref.peeled, name
        elif ref.symref:
            assert peeled in (None, ref.value), name
        else:
            assert peeled == (ref.value if name.startswith(b"refs/heads/") else None), name


def test_peeled_by_the_repo(large: Large) -> None:
    """There the object store fills in what the tables leave open."""
    for name in random.Random(4).sample(sorted(large.listed), 1000):
        listed = large.listed[name]
        assert large.repo.get_peeled(name) == (listed.peeled or listed.value), name


def test_refs_for_object(large: Large) -> None:
    holders: dict[bytes, set[bytes]] = {}
    for name, value in large.raw.items():
        for object_id in {value, large.pool.tags.get(value, value)}:
            holders.setdefault(object_id, set()).add(name)
    everything = [*large.pool.commits, *large.pool.tags]
    for object_id in random.Random(6).sample(everything, 60):
        found = list(large.refs.refs_for_object(object_id))
        assert len(found) == len(set(found))
        assert set(found) == holders.get(object_id, set())
    assert any(len(names) > 50 for names in holders.values())
    assert list(large.refs.refs_for_object(b"1" * len(large.git.zero))) == []


@pytest.mark.parametrize(
    "base", [b"refs/heads", b"refs/heads/team-3/", b"refs/tags/", b"refs/changes/17", b"refs/none"]
)
def test_bases(large: Large, base: bytes) -> None:
    prefix = base.rstrip(b"/") + b"/"
    below = {name for name in large.raw if name.startswith(prefix)}
    assert large.refs.subkeys(base) == {name[len(prefix) :] for name in below}
    assert large.refs.as_dict(base) == {
        name[len(prefix) :]: large.listed[name].value for name in below - DANGLING.keys()
    }
    assert [name for name, _ in large.refs.iter_refs(prefix)] == sorted(below)


def test_excluding(large: Large) -> None:
    hidden = (b"refs/changes/", b"refs/pull/", b"refs/heads/team-1", b"refs/tags/v07")
    assert dict(large.refs.iter_refs(exclude=hidden)) == {
        name: value for name, value in large.raw.items() if not name.startswith(hidden)
    }
