"""Clones and fetches of a random repository, from a server and from git side by side.

A *scenario* is all that follows from a seed: a history with merges, and tags of commits, of trees,
of blobs and of other tags; a clone; then a few rounds, in each of which the history grows and the
clone fetches. Each command is run twice, against our server and against ``git upload-pack``, and
must leave the same behind: exit code, refs, shallow file and objects.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.git import GIT_VERSION, Git

START = 1_500_000_000
"""When the first commit was made; the others follow, a thousand seconds apart."""
STEP = 1000


@dataclass
class World:
    """A repository that grows at random.

    Attributes:
      git: the repository
      draw: what chance is drawn from
      marks: the objects so far that commits and tags may be of, by their kinds
      branches, tags: names of refs that there are
      count: how many objects have a mark
    """

    git: Git
    draw: random.Random
    marks: dict[str, list[int]] = field(
        default_factory=lambda: {"commit": [], "tag": [], "blob": []}
    )
    branches: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    count: int = 0

    def grow(self, commits: int, tags: int) -> None:
        """Add commits on top of any, merges among them, and tags of anything."""
        stream: list[str] = []
        for _ in range(commits):
            self._commit(stream)
        for _ in range(tags):
            self._tag(stream)
        marks = self.git.path / "marks"
        known = [f"--import-marks={marks}"] if marks.exists() else []
        self.git.run(
            "fast-import", "--quiet", "--force", f"--export-marks={marks}", *known,
            stdin="".join(stream).encode(),
        )  # fmt: skip

    def _mark(self, kind: str) -> int:
        self.count += 1
        self.marks[kind].append(self.count)
        return self.count

    def _commit(self, stream: list[str]) -> None:
        draw = self.draw
        before = self.marks["commit"]
        parents = draw.sample(before[-6:], min(len(before), draw.choice((1, 1, 1, 2, 3))))
        branch = draw.choice(("main", "main", "topic/a", "topic/b", f"b{len(before)}"))
        if branch not in self.branches:
            self.branches.append(branch)
        number = len(before)
        stream.append(f"commit refs/heads/{branch}\nmark :{self._mark('commit')}\n")
        time = START + STEP * number
        stream.append(f"committer A <a@b> {time} +0000\ndata <<EOM\nc{number}\nEOM\n")
        for role, parent in zip(("from", "merge", "merge"), parents, strict=False):
            stream.append(f"{role} :{parent}\n")
        if not parents:
            stream.append("deleteall\n")
        for _ in range(draw.randrange(1, 4)):
            depth = draw.randrange(4)
            path = "".join(f"d{draw.randrange(2)}/" for _ in range(depth)) + f"f{draw.randrange(3)}"
            # Some content comes again, at other paths and depths, as text of other sizes.
            data = f"{draw.randrange(12)}" * draw.choice((1, 9, 10, 11, 1100))
            stream.append(f"M 100644 inline {path}\ndata {len(data)}\n{data}\n")
        stream.append("\n")

    def _tag(self, stream: list[str]) -> None:
        draw = self.draw
        kind = draw.choice(("commit", "commit", "tag", "tag", "blob"))
        if not self.marks[kind]:
            kind = "commit"
        if kind == "blob" or not self.marks["blob"]:
            text = f"blob {len(self.tags)}"
            stream.append(f"blob\nmark :{self._mark('blob')}\ndata {len(text)}\n{text}\n")
        of = draw.choice(self.marks[kind][-8:])
        name = f"t{len(self.tags)}"
        self.tags.append(name)
        stream.append(f"tag {name}\nmark :{self._mark('tag')}\nfrom :{of}\n")
        stream.append(f"tagger A <a@b> {START} +0000\ndata <<EOM\n{name}\nEOM\n")

    def settle(self) -> None:
        """Move refs to where only a test would have them, and let HEAD be a branch."""
        updates = []
        for place in ("refs/notes/tagged", "refs/changes/1/tag"):
            if self.tags:
                updates.append(f"update {place} refs/tags/{self.draw.choice(self.tags)}")
        if self.tags and self.draw.random() < 0.5:
            # A tag that only another tag still leads to.
            gone = self.tags.pop(self.draw.randrange(len(self.tags)))
            updates.append(f"delete refs/tags/{gone}")
        for line in updates:
            if line.startswith("update"):
                _, name, value = line.split()
                self.git.start(["update-ref", name, value], b"", None)
            else:
                self.git.run("update-ref", "-d", line.split()[1])
        self.git.run("symbolic-ref", "HEAD", f"refs/heads/{self.draw.choice(self.branches)}")


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    refs: bytes
    shallow: tuple[str, ...]
    objects: frozenset[bytes]
    complaints: bytes
    unreachable: Callable[[], set[bytes]] = field(default=set, compare=False)


def outcome_of(git: Git, code: int, *, check: bool) -> Outcome:
    """Look at a clone; with `check` git's fsck is asked as well."""
    if not (git.path / "HEAD").exists():
        return Outcome(code, b"", (), frozenset(), b"")
    shallow = git.path / "shallow"
    return Outcome(
        code,
        git.run("for-each-ref", "--format=%(refname) %(objectname) %(symref)"),
        # git's server names some commits twice, and git's client writes them down twice.
        tuple(sorted({*shallow.read_text().split()})) if shallow.exists() else (),
        frozenset(
            git.run(
                "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)"
            ).split()
        ),
        git.complaints() if check else b"",
        lambda: {
            line.split()[-1]
            for line in git.start(["fsck", "--unreachable"], b"", None).stdout.splitlines()
            if line.startswith(b"unreachable ")
        },
    )


def clones(world: World) -> Iterator[list[str]]:
    """All kinds of clones."""
    draw = world.draw
    branch = draw.choice(world.branches)
    since = f"--shallow-since=@{START + STEP * draw.randrange(len(world.marks['commit']))}"
    cuts: list[list[str]] = [
        [],
        [f"--depth={draw.randrange(1, 5)}"],
        [since],
        [f"--shallow-exclude={draw.choice(world.branches)}"],
    ]
    if world.tags:
        cuts.append([f"--shallow-exclude={draw.choice(world.tags)}"])
    widths = [
        ["--no-single-branch"],
        ["--single-branch", "-b", branch],
        ["--single-branch", "--no-tags"],
        ["--no-single-branch", "--no-tags"],
    ]
    for cut in cuts:
        for width in widths:
            yield [*cut, *width]
    yield ["--mirror"]


def filters(world: World) -> Iterator[str]:
    """All kinds of filters."""
    for bound in ("0", "1", "2", "9", "10", "11", "1k", "0x10"):
        yield f"blob:limit={bound}"
    for depth in range(5):
        yield f"tree:{depth}"
    for kind in ("commit", "tree", "blob", "tag"):
        yield f"object:type={kind}"
    yield "blob:none"


def fetches(world: World) -> Iterator[list[str]]:
    """All kinds of fetches."""
    draw = world.draw
    since = START + STEP * draw.randrange(len(world.marks["commit"]))
    yield []
    yield ["--tags"]
    yield ["--no-tags"]
    yield ["--prune", "origin", "+refs/*:refs/remotes/all/*"]
    yield [f"--depth={draw.randrange(1, 6)}"]
    yield ["--unshallow"]
    yield [f"--shallow-since=@{since}"]
    yield [f"--shallow-exclude={draw.choice(world.branches)}"]
    yield ["--no-tags", "origin", f"{{oid}}:refs/heads/by-id{draw.randrange(100)}"]
    if GIT_VERSION >= (2, 54):  # in older versions, a relative depth means something else
        yield [f"--deepen={draw.randrange(1, 4)}"]


class Pair:
    """A clone of ours and one of git's.

    Args:
      scratch: where they are
      urls: our server's, and git's
      config: for both
    """

    def __init__(self, scratch: Path, urls: tuple[str, str], config: list[str]) -> None:
        self._places = [scratch / "ours", scratch / "theirs"]
        self._urls = urls
        # Since git 2.54, a repack in the background may prune the shallow file while the next fetch
        # reads it, which then fails; and it may still write when the clone is to be removed.
        config = ["maintenance.auto=false", *config]
        self._config = [word for setting in config for word in ("-c", setting)]

    def clone(self, flags: list[str]) -> list[Outcome]:
        """Clone anew."""
        for place in self._places:
            shutil.rmtree(place, ignore_errors=True)
        return [
            self._run(["clone", "--bare", *flags, url, str(place)], place)
            for place, url in zip(self._places, self._urls, strict=True)
        ]

    def fetch(self, flags: list[str]) -> list[Outcome]:
        """Fetch; a bare clone has to be told what."""
        what = [] if "origin" in flags else ["origin", "+refs/heads/*:refs/heads/*"]
        return [
            self._run(["-C", str(place), "fetch", "--update-head-ok", *flags, *what], place)
            for place in self._places
        ]

    def _run(self, words: list[str], place: Path) -> Outcome:
        git = Git(place)
        runner = Git(place.parent)
        done = runner.start([*self._config, *words], b"", None)
        is_whole = not any(word.startswith("--filter") for word in words)
        return outcome_of(git, done.returncode, check=is_whole)


def compare(what: str, outcomes: list[Outcome]) -> str:
    """Tell how our outcome differs from git's; nothing if it does not."""
    ours, theirs = outcomes
    if ours.complaints:
        return f"{what}: fsck: {ours.complaints.decode()}"
    for name in ("code", "refs", "shallow"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"{what}: {name}: {getattr(ours, name)!r}, git's {getattr(theirs, name)!r}"
    if ours.objects != theirs.objects:
        # git forgets what the client said it has where that follows from what else it has, and
        # then history is cut there. So it may send tags of what the client has already.
        more = ours.objects - theirs.objects - ours.unreachable()
        less = theirs.objects - ours.objects - theirs.unreachable()
        if more or less:
            return f"{what}: objects: {sorted(more)} too many, {sorted(less)} missing"
    return ""


def run_scenario(
    seed: int,
    scratch: Path,
    root: Path,
    serve: Callable[[str], str],
    *,
    ref_format: str,
    rounds: int,
) -> list[str]:
    """Run a scenario; gives the differences.

    Args:
      seed: what it follows from
      scratch: for the clones
      root: the folder that is served
      serve: gives our address of a repository in it
      ref_format: of the repository
      rounds: how many kinds of clones are followed by fetches
    """
    draw = random.Random(seed)
    name = f"o{seed}.git"
    git = Git.init(root / name, bare=True, ref_format=ref_format)
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git.run("config", key, "true")
    world = World(git, draw)
    world.grow(draw.randrange(4, 14), draw.randrange(6))
    world.settle()
    # Over HTTP, git fetches refs from a shallow repository that it refuses over other ways.
    is_shallow = draw.random() < 0.25 and not serve("").startswith("http")
    if is_shallow:
        # The repository's own history ends somewhere.
        history = git.run("rev-list", "--all").decode().split()
        ends = draw.sample(history, min(len(history), draw.choice((1, 2))))
        (git.path / "shallow").write_text("".join(f"{oid}\n" for oid in ends))
    version = draw.choice((0, 1, 2, 2))
    pair = Pair(scratch, (serve(name), f"file://{git.path}"), [f"protocol.version={version}"])
    wrong: list[str] = []

    def draw_from(ways: Iterable[list[str]]) -> list[str]:
        # Where such a repository is cut by time or by refs, git loses its ends, and clients fail.
        return draw.choice(
            [way for way in ways if not (is_shallow and "--shallow-" in " ".join(way))]
        )

    def check(words: list[str], outcomes: list[Outcome]) -> None:
        difference = compare(f"seed {seed}, version {version}: {' '.join(words)}", outcomes)
        if difference:
            wrong.append(difference)

    if not is_shallow:  # git's own partial clone of a shallow repository can hang
        chosen = draw.choice(list(filters(world)))
        check([chosen], pair.clone([f"--filter={chosen}"]))
    for _ in range(rounds):
        if wrong:
            break  # keep what differs, so that somebody can look at it
        words = draw_from(clones(world))
        outcomes = pair.clone(words)
        check(words, outcomes)
        if outcomes[0].code:
            continue
        for _ in range(0 if wrong else 2):
            world.grow(draw.randrange(1, 4), draw.randrange(3))
            then = draw_from(fetches(world))
            oid = git.run("rev-parse", f"{draw.choice(world.branches)}^0").strip().decode()
            then = [word.format(oid=oid) for word in then]
            words = [*words, "/", *then]
            check(words, pair.fetch(then))
            if wrong:
                break
    return wrong
