"""Given the same records and options, a table that this engine writes is git's to the byte.

git writes a table, :class:`Table` reads its records, :class:`TableWriter` writes them again. If
that gives the same bytes, then block fill, restarts, index levels, object section, abbreviation,
padding and footer are git's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.git import GIT_VERSION, NAME, TIMESTAMP, Git, format_timezone, requires_git
from support.pool import ObjectPool

from dulwich_reftable.engine.format.layout import LOG, OBJ, REF
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from .tables import flat, footer_positions, section_blocks, write

pytestmark = requires_git

PoolOf = Callable[[str], ObjectPool]


@dataclass
class Shape:
    """What a repository is like whose only table is compared.

    Attributes:
      refs: how many direct refs
      object_format: of the repository
      options: how git is told to write
      name: makes a name of a number
      objects: how many different objects the refs point to
      tags: whether some refs point to annotated tags
      symrefs: how many symrefs
      log_entries: reflog entries of each ref under refs/heads
    """

    refs: int = 0
    object_format: str = "sha1"
    options: WriteOptions = field(default_factory=WriteOptions)
    name: Callable[[int], bytes] = b"refs/changes/%05d".__mod__
    objects: int = 500
    tags: bool = False
    symrefs: int = 0
    log_entries: int = 0

    @property
    def config(self) -> dict[str, str]:
        """The settings of git that correspond to the options."""
        return {
            "reftable.blockSize": str(self.options.block_size),
            "reftable.restartInterval": str(self.options.restart_interval),
            "reftable.indexObjects": str(self.options.index_objects).lower(),
            "core.logAllRefUpdates": str(bool(self.log_entries)).lower(),
        }


def make(path: Path, pool: ObjectPool, shape: Shape) -> bytes:
    """Let git make the repository and give its table: compacted, it is one."""
    git = Git.init(path, bare=True, object_format=shape.object_format, config=shape.config)
    pool.lend(path)
    rng = random.Random(repr(shape))
    targets = pool.commits[: shape.objects]
    names = [shape.name(i) for i in range(shape.refs)]
    for entry in range(max(shape.log_entries, 1)):
        lines = [b"update %s %s" % (name, rng.choice(targets)) for name in names]
        if shape.tags and not entry:
            tags = sorted(pool.tags)
            lines += [b"create refs/tags/v%d %s" % (i, rng.choice(tags)) for i in
                      range(shape.refs // 10)]  # fmt: skip
        if lines:
            git.update_ref_stdin(
                lines, message=b"entry  %d of many " % entry + b"m" * rng.randrange(40)
            )
    git.set_symrefs(
        {b"refs/remotes/r%04d/HEAD" % i: b"refs/remotes/r%04d/main" % i
         for i in range(shape.symrefs)}
    )  # fmt: skip
    git.run("pack-refs", "--all")
    (table,) = git.tables()
    return table.read_bytes()


def rewrite(data: bytes, options: WriteOptions) -> bytes:
    """Read a table and write it again."""
    table = Table("git.ref", data)
    options = replace(options, hash_size=table.hash_size)
    bounds = table.min_update_index, table.max_update_index
    return write(flat(table.ref_records()), flat(table.log_records()), options, bounds)


def assert_equal(ours: bytes, theirs: bytes) -> None:
    """Compare without printing a megabyte."""
    if ours != theirs:
        pairs = enumerate(zip(ours, theirs, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
        pytest.fail(f"{len(ours)} bytes differ from git's {len(theirs)} at {at}")


def long_name(i: int) -> bytes:
    """Names of hundreds of bytes among shorter ones; on disk git allows components of 255."""
    return b"refs/heads/%d/" % (i % 7) + b"/".join([b"%03d" % i * 60] * (i % 3 + 1))


options = WriteOptions
SHAPES = {
    "one": Shape(refs=1),
    "forty": Shape(refs=40, tags=True, symrefs=2),
    "5,000": Shape(refs=5_000, tags=True, symrefs=3),
    "60,000 with tags": Shape(refs=54_000, tags=True, symrefs=3),
    "long names": Shape(refs=600, name=long_name),
    "all on one object": Shape(refs=9_000, objects=1),
    "on two objects": Shape(refs=7_000, objects=2, options=options(block_size=512)),
    "all sections, all indexes": Shape(
        refs=1_500, name=b"refs/heads/%04d".__mod__, log_entries=2, options=options(block_size=512)
    ),
    "logs": Shape(refs=900, name=b"refs/heads/%04d".__mod__, log_entries=4),
    "few logs": Shape(refs=3, name=b"refs/heads/%04d".__mod__, log_entries=2),
    "sha256": Shape(refs=4_000, object_format="sha256", tags=True, symrefs=2),
    "sha256 with logs": Shape(
        refs=500, object_format="sha256", name=b"refs/heads/%d".__mod__, log_entries=3
    ),
    "blocks of 512, every record a restart": Shape(2_000, options=options(512, 1), tags=True),
    "blocks of 1000, interval 3": Shape(2_000, options=options(1_000, 3), tags=True),
    "blocks of 65536, interval 64": Shape(9_000, options=options(65_536, 64), tags=True),
    "interval 7 and logs": Shape(
        400, options=options(2_048, 7), name=b"refs/heads/%d".__mod__, log_entries=5
    ),
    "blocks of 16 MiB": Shape(3_000, options=options((1 << 24) - 1, 65_535)),
    "no object index": Shape(3_000, options=options(index_objects=False), tags=True),
    "only symrefs": Shape(symrefs=1_500),
    "nothing": Shape(),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rewritten_table(tmp_path: Path, pool_of: PoolOf, shape: Shape) -> None:
    data = make(tmp_path / "repo", pool_of(shape.object_format), shape)
    assert_equal(rewrite(data, shape.options), data)


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory, pool_of: PoolOf) -> Callable[[str], bytes]:
    """Give the table of a shape; several tests look at what it holds."""
    made: dict[str, bytes] = {}

    def give(name: str) -> bytes:
        if name not in made:
            shape = SHAPES[name]
            path = tmp_path_factory.mktemp("shape") / "repo"
            made[name] = make(path, pool_of(shape.object_format), shape)
        return made[name]

    return give


class TestReach:
    """The shapes reach what they are there for; else the comparison would say little."""

    def test_all_sections_and_their_indexes(self, reached: Callable[[str], bytes]) -> None:
        assert all(footer_positions(reached("all sections, all indexes")))

    def test_thousands_of_log_entries(self, reached: Callable[[str], bytes]) -> None:
        data = reached("logs")
        assert len(section_blocks(data, LOG)) > 50
        assert len(flat(Table("t", data).log_records())) > 3_500

    @pytest.mark.parametrize(
        ("shape", "positions"), [("all on one object", range(8, 999)), ("on two objects", [0])]
    )
    def test_objects_in_many_blocks(
        self, reached: Callable[[str], bytes], shape: str, positions: range
    ) -> None:
        """More blocks than the type bits can count, and more than a block can name."""
        blocks = section_blocks(reached(shape), OBJ)
        records = [record for block in blocks for record in block.obj_records()[1]]
        assert records
        assert all(len(record.positions) in positions for record in records)

    def test_no_object_at_all(self, reached: Callable[[str], bytes]) -> None:
        data = reached("only symrefs")
        assert footer_positions(data)[0]
        assert footer_positions(data)[1:3] == (2, 0)

    def test_names_of_hundreds_of_bytes(self, reached: Callable[[str], bytes]) -> None:
        names = [name for block in section_blocks(reached("long names"), REF)
                 for name in block.ref_values()[0]]  # fmt: skip
        assert {len(name) > 500 for name in names} == {True, False}


def stack_of_deletions(git: Git, commits: list[bytes]) -> None:
    """Two tables: deletions remain only while there is something older below."""
    git.update_ref_stdin(
        (b"create refs/heads/%03d %s" % (i, commits[i]) for i in range(200)), b"made"
    )
    git.update_ref_stdin((b"delete refs/heads/%03d" % i for i in range(0, 200, 3)), b"gone")


def test_tombstones(tmp_path: Path, pool_of: PoolOf) -> None:
    """Of refs and, with them, of their logs."""
    config = {"core.logAllRefUpdates": "true", "reftable.geometricFactor": "100"}
    git = Git.init(tmp_path / "repo", bare=True, config=config)
    pool = pool_of("sha1")
    pool.lend(tmp_path / "repo")
    git.env["GIT_TEST_REFTABLE_AUTOCOMPACTION"] = "false"
    stack_of_deletions(git, pool.commits)
    tombstones = 0
    for path in git.tables():
        data = path.read_bytes()
        table = Table(path.name, data)
        tombstones += sum(record.is_deletion for record in flat(table.ref_records()))
        tombstones += sum(record.update is None for record in flat(table.log_records()))
        assert_equal(rewrite(data, WriteOptions()), data)
    assert tombstones == 2 * 67


def files_repository(path: Path, pool: ObjectPool, refs: int, entries: int) -> Git:
    """A repository with loose logs, which are written here: git would need a process each."""
    git = Git.init(path, bare=True, ref_format="files", config={"core.logAllRefUpdates": "true"})
    pool.lend(path)
    names = [b"refs/heads/topic-%03d" % i for i in range(refs)]
    rng = random.Random(refs)
    last = [b"create %s %s" % (name, pool.commits[i % 500]) for i, name in enumerate(names)]
    git.update_ref_stdin(last)
    for i, name in enumerate(names):
        log = path / "logs" / os.fsdecode(name)
        log.write_bytes(b"".join(_log_lines(pool.commits[i % 500], entries, rng)))
    return git


def _log_lines(last: bytes, entries: int, rng: random.Random) -> Iterable[bytes]:
    for i in range(entries):
        zone = format_timezone(rng.choice([0, 19_800, -12_600]))
        who = f"{NAME} {i % 5} <c@example.com> {TIMESTAMP + i} {zone}"
        yield b"%s %s %s\tstep %d %s\n" % (last, last, who.encode(), i, b"x" * rng.randrange(60))


@pytest.mark.skipif(GIT_VERSION < (2, 48), reason="git migrates reflogs since 2.48")
@pytest.mark.parametrize(("refs", "entries"), [(3, 2), (60, 50)])
def test_migrated_reflogs(tmp_path: Path, pool_of: PoolOf, refs: int, entries: int) -> None:
    git = files_repository(tmp_path / "repo", pool_of("sha1"), refs, entries)
    git.run("refs", "migrate", "--ref-format=reftable")
    git.run("pack-refs", "--all")
    (path,) = git.tables()
    data = path.read_bytes()
    found = flat(Table(path.name, data).log_records())
    assert len(found) >= refs * entries
    assert {record.update.tz_offset for record in found if record.update} >= {0}
    assert_equal(rewrite(data, WriteOptions()), data)
