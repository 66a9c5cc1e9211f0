"""``reflog expire`` beside git's: of random reflogs, the same entries go.

Twin repositories get the same refs and reflogs, and the same configuration. git expires in one and
we in the other, with the same random options; then both must hold the same.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from support.compare import shown_reflogs
from support.git import GIT_VERSION, Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord, log_key
from dulwich_reftable.engine.stack.stack import Stack

from .conftest import Run

pytestmark = requires_git

SEEDS = range(int(os.environ.get("DULWICH_REFTABLE_EXPIRY_SEEDS", "16")))
DAY = 86400
SHARED = [
    b"refs/heads/main",
    b"refs/heads/a",
    b"refs/heads/b/c",
    b"refs/notes/commits",
    b"refs/remotes/o/HEAD",
    b"refs/remotes/o/x",
    b"refs/stash",
    b"refs/tags/blob",
    b"refs/tags/t",
]
OWN = [b"HEAD", b"ORIG_HEAD", b"refs/bisect/bad", b"refs/worktree/w"]
GONE = [b"refs/heads/gone", b"refs/worktree/gone"]
TIMES = [
    "never", "now", "all", "false", "45.days.ago", "60 days", "6.weeks", "2.months.ago",
    "1 month 2 weeks ago", "last month", "one year ago", "@{stamp}", "{stamp}", "{date}",
    "{date} 12:00:00", "{date}T12:00:00+0200",
]  # fmt: skip
PATTERNS = [
    "*", "HEAD", "*HEAD", "refs/*", "refs/heads/*", "refs/heads/?", "refs/stash", "refs/[!h]*",
    "refs/[[:lower:]]*/a", "refs/tags/[^a-d]", "worktrees/*", "main-worktree/*", "refs/**/c",
    "refs\\\\/heads/main", "refs/[heads/main",
]  # fmt: skip


@dataclass
class Twins:
    """Two repositories with a linked worktree each, that have the same objects.

    Attributes:
      roots: of git's and of ours
      ids: of commits in a random history, tags, a tree, a blob and what does not exist
      whole: those from which nothing is missing, in both
    """

    roots: tuple[Path, Path]
    ids: list[bytes]
    whole: list[bytes]

    def logs(self) -> list[dict[str, object]]:
        """What both hold, as we show it, in either worktree."""
        held: list[dict[str, object]] = []
        for root in self.roots:
            held.append({})
            for name in ("main", "tree"):
                with dr.Repo(str(root / name)) as repo:
                    held[-1][name] = shown_reflogs(repo.refs), dict(repo.refs.iter_refs())
        return held


def history(rng: Random) -> bytes:
    """Write commits with random parents, and times in no order, for git fast-import."""
    text = [b"blob\nmark :1\ndata 1\nx\nblob\nmark :2\ndata 1\ny\n"]
    for mark in range(3, 60):
        when = rng.randrange(1_500_000_000, 1_750_000_000)
        text.append(b"reset refs/heads/c%d\ncommit refs/heads/c%d\nmark :%d\n" % ((mark,) * 3))
        text.append(b"committer P <p@example.com> %d +0000\ndata 3\nc%02d\n" % (when, mark))
        newest = max(3, mark - 8)
        parents = rng.sample(range(newest, mark), min(mark - newest, rng.choice((0, 1, 1, 1, 2))))
        for number, parent in enumerate(parents):
            text.append(b"%s :%d\n" % (b"merge" if number else b"from", parent))
        text.append(b"M 644 :%d d/f%d\n" % (rng.choice((1, 2)), mark))
        text.append(b"M 644 inline own\ndata 2\n%02d\n" % mark)
    for mark, target in ((60, 50), (61, 60), (62, 1)):
        text.append(b"tag t%d\nmark :%d\nfrom :%d\ntagger P <p@example.com> 1600000000 +0000\n" % (
            mark, mark, target,
        ))  # fmt: skip
        text.append(b"data 1\nt\n")
    return b"".join(text)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """Twins without refs."""
    root = tmp_path_factory.mktemp("expiry")
    source = Git.init(root / "source", bare=True, ref_format="files")
    loose = ["-c", "fastimport.unpackLimit=9999"]
    text = history(Random(1))
    source.run(*loose, "fast-import", "--quiet", "--export-marks=marks", stdin=text)
    marks = dict(line.split() for line in (root / "source" / "marks").read_bytes().splitlines())
    ids = [marks[b":%d" % number] for number in range(1, len(marks) + 1)]
    ids += [source.run("rev-parse", ids[5] + b"^{tree}").strip(), b"7" * 40]
    unsynced = {"core.fsync": "none"}
    made = [Git.init(root / name / "main", config=unsynced) for name in ("git", "ours")]
    for git in made:
        git.run("-c", "core.logAllRefUpdates=false", "commit", "-q", "--allow-empty", "-m", "first")
        git.run("worktree", "add", "-q", "--detach", str(git.path.parent / "tree"))
        shutil.copytree(source.path / "objects", git.git_dir / "objects", dirs_exist_ok=True)
    # A few objects are gone: it shows in what needs them.
    missing = [source.run("rev-parse", ids[at] + b"^{tree}").strip() for at in (12, 33)]
    missing += [ids[20], source.run("rev-parse", ids[45] + b":own").strip()]
    for git in made:
        for oid in missing:
            (git.git_dir / "objects" / os.fsdecode(oid[:2]) / os.fsdecode(oid[2:])).unlink()
    lines = source.run("rev-list", "--parents", "--all", "--topo-order", "--reverse").splitlines()
    broken = {ids[12], ids[20], ids[33], ids[45]}
    for line in lines:
        commit, *parents = line.split()
        if broken.intersection(parents):
            broken.add(commit)
    whole = [oid for oid in ids if oid not in broken and oid != b"7" * 40]
    return Twins((root / "git", root / "ours"), ids, whole)


def fill(stack: Stack, names: list[bytes], twins: Twins, rng: Random) -> None:
    """Write random refs and reflogs to an empty stack, in one table."""
    now = int(time.time())
    refs: list[RefRecord] = []
    logs: list[LogRecord] = []
    with stack.addition() as addition:
        index = addition.next_update_index
        for name in names:
            last = bytes(20)
            # git dies of missing objects that refs lead to, and of what is no commit in HEAD.
            value = bytes.fromhex(rng.choice(twins.whole[2:50]).decode())
            for _ in range(rng.randrange(10)):
                index += 1
                oid = rng.choice(twins.ids)
                new = rng.choice((bytes.fromhex(oid.decode()), bytes.fromhex(oid.decode()), value))
                old = rng.choice((last, last, bytes.fromhex(rng.choice(twins.ids).decode())))
                if rng.randrange(12) == 0:
                    old, new = rng.choice(((bytes(20), new), (new, bytes(20))))
                # Half a day from any limit, so that no second counts.
                when = now - rng.randrange(0, 150) * DAY - DAY // 2 if rng.randrange(9) else 0
                message = b"%d of %s\n" % (index, name)
                update = LogUpdate(old, new, b"L", b"l@example.com", when, 100, message)
                logs.append(LogRecord(name, index, update))
                last = new
            if name in GONE:
                continue
            if name == b"refs/tags/blob":
                value = bytes.fromhex(twins.ids[61].decode())
            if name == b"refs/remotes/o/HEAD" or (name == b"HEAD" and rng.randrange(2)):
                refs.append(RefRecord(name, index, target=b"refs/heads/main"))
            else:
                refs.append(RefRecord(name, index, value=value))
        logs.sort(key=lambda log: log_key(log.name, log.update_index))
        refs = sorted(ref._replace(update_index=index) for ref in refs)
        addition.write(refs, logs, index)
        addition.commit()


def fill_twins(twins: Twins, rng: Random) -> None:
    """Write the same refs and reflogs to both twins, in place of what is there."""
    stacks = ["main/.git/reftable", "main/.git/worktrees/tree/reftable"]
    for root in twins.roots:
        for path in stacks:
            for file in (root / path).iterdir():
                file.unlink()
            (root / path / "tables.list").touch()
    with dr.Repo(str(twins.roots[0] / "tree")) as repo:
        store = repo.refs.store
        fill(store.shared, sorted([*SHARED, *OWN, *GONE]), twins, rng)
        fill(store.current, sorted([*OWN, GONE[1]]), twins, rng)
    for path in stacks:
        shutil.copytree(twins.roots[0] / path, twins.roots[1] / path, dirs_exist_ok=True)


def configure(twins: Twins, rng: Random, a_time: Callable[[], str]) -> None:
    """Set the same limits in both twins."""
    # Of what git takes where nothing is set, see test_expiry.py.
    text = ["[gc]\n\treflogExpire = 90 days\n\treflogExpireUnreachable = 30.days.ago\n"]
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        text.append(f'[gc "{rng.choice(PATTERNS)}"]\n')
        for key in rng.sample(("reflogExpire", "reflogexpireunreachable"), rng.randrange(1, 3)):
            text.append(f"\t{key} = {a_time()}\n")
    for root in twins.roots:
        config = root / "main" / ".git" / "config"
        own = config.read_text().partition("[gc]")[0]
        config.write_text(own + "".join(text))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_goes_is_what_goes_by_git(twins: Twins, run: Run, seed: int) -> None:
    rng = Random(seed)
    now = int(time.time())

    def a_time() -> str:
        then = now - rng.randrange(150) * DAY
        date = time.strftime("%Y-%m-%d", time.localtime(then))
        text = rng.choice(TIMES).format(stamp=then, date=date)
        if "12:00" in text and abs(now % DAY - DAY // 2) > DAY // 4:
            text = date  # too near to where the entries are
        return text

    fill_twins(twins, rng)
    configure(twins, rng, a_time)
    arguments = [f"--{name}={a_time()}" for name in ("expire", "expire-unreachable")
                 if rng.randrange(3) == 0]  # fmt: skip
    arguments += [flag for flag in ("--rewrite", "--updateref", "--stale-fix")
                  if rng.randrange(3) == 0]  # fmt: skip
    where = rng.choice(("main", "main", "tree"))
    if rng.randrange(3):
        arguments.append("--all")
        if GIT_VERSION >= (2, 47) and rng.randrange(4) == 0:
            arguments.append("--single-worktree")
    else:
        with dr.Repo(str(twins.roots[1] / where)) as repo:
            logged = [name for name in repo.refs.reflogs() if name not in GONE]
        arguments += map(os.fsdecode, rng.sample(logged, 2))
    git = Git(twins.roots[0] / where)
    theirs = git.run("reflog", "expire", "--verbose", *arguments)
    done = run("reflog", "-C", twins.roots[1] / where, "expire", "--verbose", *arguments)
    assert (done.code, done.err) == (0, b"")
    told = [line for line in done.out.splitlines() if line.startswith((b"keep ", b"prune "))]
    said = [line for line in theirs.splitlines() if line.startswith((b"keep ", b"prune "))]
    assert not ({*told} ^ {*said}), arguments
    held = twins.logs()
    assert held[1] == held[0], arguments


def test_a_dry_run_changes_nothing(twins: Twins, run: Run) -> None:
    fill_twins(twins, Random(0))
    configure(twins, Random(0), lambda: "never")
    before = twins.logs()[1]
    arguments = ["expire", "--all", "--expire=60.days.ago", "--rewrite", "--updateref"]
    ours = twins.roots[1] / "main"
    said = run("reflog", "-C", ours, *arguments, "--dry-run", "--verbose").lines
    assert twins.logs()[1] == before
    assert any(line.startswith("would prune ") for line in said)
    done = run("reflog", "-C", ours, *arguments, "--verbose").lines
    as_done = {"would prune": "prune", "would go": "went"}
    for text, told in as_done.items():
        said = [line.replace(text, told) for line in said]
    assert said == done
    assert twins.logs()[1] != before
