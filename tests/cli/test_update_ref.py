"""``update-ref``, beside git's: the same commands in twin repositories must come to the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from support.compare import shown_reflogs
from support.git import GIT_VERSION, TIMESTAMP, Git, requires_git
from support.pool import ObjectPool

import dulwich_reftable as dr

from .conftest import Done, Run

pytestmark = requires_git


class Scene(NamedTuple):
    """A repository to be copied, and the words that stand for objects in it."""

    git: Git
    objects: dict[str, str]

    def fill_in(self, text: str) -> bytes:
        """Put object ids in place of words."""
        for word, oid in self.objects.items():
            text = text.replace("{" + word + "}", oid)
        return text.encode()


@pytest.fixture(scope="module")
def scene(pool_of: Callable[[str], ObjectPool], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A branch that is HEAD's, others, symrefs that lead somewhere and nowhere, a tag."""
    pool = pool_of("sha1")
    git = Git.init(tmp_path_factory.mktemp("scene") / "repo")
    pool.lend(git.git_dir)
    tag, peeled = next(iter(pool.tags.items()))
    objects = {f"c{i}": oid.decode() for i, oid in enumerate(pool.commits[:4])}
    objects |= {"tag": tag.decode(), "peeled": peeled.decode(), "zero": "0" * 40}
    objects |= {"none": "1" * 40, "abbrev": objects["c3"][:10], "abbr3": objects["c3"][:3]}
    made = Scene(git, objects)
    git.update_ref_stdin(
        made.fill_in(
            "create refs/heads/main {c0}\ncreate refs/heads/topic {c1}\n"
            "create refs/heads/dir/sub {c1}\ncreate refs/tags/t {tag}\ncreate refs/other/x {c2}"
        ).splitlines(),
        b"begin",
    )
    git.set_symrefs({
        b"refs/heads/sym": b"refs/heads/topic",
        b"refs/heads/symsym": b"refs/heads/sym",
        b"refs/heads/dangling": b"refs/heads/nothing",
    })  # fmt: skip
    return made


@pytest.fixture
def twins(scene: Scene, tmp_path: Path) -> tuple[Git, Git]:
    """Two copies of the scene: git's and ours."""
    for name in ("git", "ours"):
        shutil.copytree(scene.git.path, tmp_path / name, symlinks=True)
    return Git(tmp_path / "git"), Git(tmp_path / "ours")


def state(git: Git) -> tuple[object, object, object]:
    """What is in a repository, by git and by us.

    Of reflogs, the entries that tell of a change: git notes for symrefs and for HEAD also that what
    they lead to was set to what it was.
    """
    with dr.Repo(str(git.path)) as repo:
        logs = {
            name: [entry for entry in entries if entry.old != entry.new]
            for name, entries in shown_reflogs(repo.refs).items()
        }
        refs = dict(repo.refs.iter_refs())
    return refs, {name: log for name, log in logs.items() if log}, git.for_each_ref()


def assert_same(
    twins: tuple[Git, Git], theirs: subprocess.CompletedProcess[bytes], ours: Done
) -> None:
    """Compare what git and we have done."""
    assert bool(ours.code) == bool(theirs.returncode), (theirs.stderr, ours.err)
    assert bool(ours.err) == bool(ours.code)
    assert ours.out == theirs.stdout
    assert state(twins[1]) == state(twins[0])


STREAMS = {
    "nothing": "",
    "create": "create refs/heads/new {c1}\n",
    "create what exists": "create refs/heads/main {c1}\n",
    "create a tag": "create refs/tags/new {tag}\n",
    "create through a dangling symref": "create refs/heads/dangling {c1}\n",
    "create zero": "create refs/heads/new {zero}\n",
    "create nothing": "create refs/heads/new\n",
    "create twice": "create refs/heads/new {c1}\ncreate refs/heads/new {c2}\n",
    "create below a ref": "create refs/heads/main/sub {c1}\n",
    "create above a ref": "create refs/heads/dir {c1}\n",
    "two in each other's way": "create refs/heads/a {c1}\ncreate refs/heads/a/b {c1}\n",
    "update": "update refs/heads/main {c1}\n",
    "update from": "update refs/heads/main {c1} {c0}\n",
    "update from what is not": "update refs/heads/main {c1} {c2}\n",
    "update what is not": "update refs/heads/new {c1} {c2}\n",
    "update from nothing": "update refs/heads/new {c1} {zero}\n",
    "update from nothing what exists": "update refs/heads/main {c1} {zero}\n",
    "update to nothing": "update refs/heads/topic {zero} {c1}\n",
    "update by a name": "update refs/heads/new refs/heads/topic\n",
    "update by a short name": "update refs/heads/new topic main\n",
    "update by a short id": "update refs/heads/new {abbr3}\n",
    "update by an abbreviated id": "update refs/heads/new {abbrev}\n",
    "update by a tag's name": "update refs/tags/u t\n",
    "update by a revision": "update refs/heads/new main~0\nupdate refs/tags/u t^{}\n",
    "update to what means nothing": "update refs/heads/new nonsense\n",
    "update to no object": "update refs/heads/new {none}\n",
    "update a branch to a tag": "update refs/heads/main {tag}\n",
    "update HEAD": "update HEAD {c1} {c0}\n",
    "update HEAD itself": "option no-deref\nupdate HEAD {c1} {c0}\n",
    "update HEAD itself from another": "option no-deref\nupdate HEAD {c1} {c2}\n",
    "update HEAD and its branch": "update HEAD {c1}\nupdate refs/heads/main {c2}\n",
    "update a symref": "update refs/heads/symsym {c2} {c1}\n",
    "update a symref itself": "option no-deref\nupdate refs/heads/symsym {c2} {c1}\n",
    "an option counts once": "option no-deref\nupdate refs/heads/sym {c2}\nupdate HEAD {c2}\n",
    "update outside of heads": "update refs/other/x {c1}\nupdate refs/other/new {c1}\n",
    "update to the same": "update refs/heads/topic {c1}\n",
    "delete": "delete refs/heads/topic\n",
    "delete from": "delete refs/heads/topic {c1}\n",
    "delete from what is not": "delete refs/heads/topic {c2}\n",
    "delete from zero": "delete refs/heads/topic {zero}\n",
    "delete what is not": "delete refs/heads/new\n",
    "delete HEAD's branch": "delete refs/heads/main\n",
    "delete through HEAD": "delete HEAD\n",
    "delete through a symref": "delete refs/heads/symsym\n",
    "delete a symref": "option no-deref\ndelete refs/heads/symsym {c1}\n",
    "delete one, create beside": "delete refs/heads/topic\ncreate refs/heads/t2 {c1}\n",
    "verify": "verify refs/heads/main {c0}\n",
    "verify what is not": "verify refs/heads/new\n",
    "verify nothing": "verify refs/heads/main\n",
    "verify wrong": "verify refs/heads/main {c1}\ncreate refs/heads/new {c1}\n",
    "verify and do": "verify refs/heads/main {c0}\ncreate refs/heads/new {c1}\n",
    "verify a symref": "verify refs/heads/sym {c1}\n",
    "verify a symref itself": "option no-deref\nverify refs/heads/sym {c1}\n",
    "start, commit": "start\ncreate refs/heads/new {c1}\ncommit\n",
    "start, prepare, commit": "start\ncreate refs/heads/new {c1}\nprepare\ncommit\n",
    "start, prepare, abort": "start\ncreate refs/heads/new {c1}\nprepare\nabort\n",
    "start, abort": "start\ncreate refs/heads/new {c1}\nabort\n",
    "start and no end": "start\ncreate refs/heads/new {c1}\n",
    "prepare and no end": "start\ncreate refs/heads/new {c1}\nprepare\n",
    "prepare without start": "create refs/heads/new {c1}\nprepare\ncommit\n",
    "commit without start": "create refs/heads/new {c1}\ncommit\n",
    "abort without start": "create refs/heads/new {c1}\nabort\n",
    "start late": "create refs/heads/new {c1}\nstart\ncreate refs/heads/new2 {c1}\ncommit\n",
    "start twice": "start\nstart\n",
    "more after prepare": "start\nprepare\ncreate refs/heads/new {c1}\n",
    "prepare twice": "start\nprepare\nprepare\n",
    "more after commit": "start\ncommit\ncreate refs/heads/new {c1}\n",
    "several": "start\ncreate refs/heads/n1 {c1}\ncommit\nstart\nabort\n"
    "start\nupdate refs/heads/n1 {c2} {c1}\nprepare\ncommit\n",
    "several, one fails": "start\ncreate refs/heads/n1 {c1}\ncommit\n"
    "start\nupdate refs/heads/n1 {c2} {c3}\nprepare\ncommit\n",
    "prepare fails": "start\ncreate refs/heads/main {c1}\nprepare\ncommit\n",
    "commit fails": "start\ncreate refs/heads/main {c1}\ncommit\n",
    "empty start": "start\ncommit\n",
    "symref-create": "symref-create refs/heads/s refs/heads/main\n",
    "symref-create dangling": "symref-create refs/heads/s refs/heads/none\n",
    "symref-create what exists": "symref-create refs/heads/sym refs/heads/main\n",
    "symref-create itself": "option no-deref\nsymref-create refs/heads/sym refs/heads/main\n",
    "symref-create no target": "symref-create refs/heads/s\n",
    "symref-update": "symref-update refs/heads/s refs/heads/main\n",
    "symref-update through": "symref-update refs/heads/sym refs/heads/main\n",
    "symref-update itself": "option no-deref\nsymref-update refs/heads/sym refs/heads/main\n",
    "symref-update from": "option no-deref\n"
    "symref-update refs/heads/sym refs/heads/main ref refs/heads/topic\n",
    "symref-update from another": "option no-deref\n"
    "symref-update refs/heads/sym refs/heads/main ref refs/heads/main\n",
    "symref-update from an id": "option no-deref\n"
    "symref-update refs/heads/sym refs/heads/main oid {c1}\n",
    "symref-update from a wrong id": "option no-deref\n"
    "symref-update refs/heads/sym refs/heads/main oid {c2}\n",
    "symref-update a ref from an id": "symref-update refs/heads/topic refs/heads/main oid {c1}\n",
    "symref-update what is not": "symref-update refs/heads/s refs/heads/main ref refs/heads/x\n",
    "symref-update no value": "symref-update refs/heads/sym refs/heads/main ref\n",
    "symref-update nonsense": "symref-update refs/heads/sym refs/heads/main foo {c1}\n",
    "symref-update HEAD": "option no-deref\nsymref-update HEAD refs/heads/topic\n",
    "symref-delete": "option no-deref\nsymref-delete refs/heads/sym\n",
    "symref-delete from": "option no-deref\nsymref-delete refs/heads/sym refs/heads/topic\n",
    "symref-delete wrong": "option no-deref\nsymref-delete refs/heads/sym refs/heads/main\n",
    "symref-delete a ref": "option no-deref\nsymref-delete refs/heads/main refs/heads/x\n",
    "symref-delete through": "symref-delete refs/heads/sym\n",
    "symref-verify": "option no-deref\nsymref-verify refs/heads/sym refs/heads/topic\n",
    "symref-verify wrong": "option no-deref\nsymref-verify refs/heads/sym refs/heads/main\n",
    "symref-verify nothing": "option no-deref\nsymref-verify refs/heads/new\n",
    "symref-verify nothing wrong": "option no-deref\nsymref-verify refs/heads/sym\n",
    "symref-verify through": "symref-verify refs/heads/sym refs/heads/topic\n",
    "quoted": 'create "refs/heads/new" "{c1}"\n',
    "quoted escapes": 'create "refs/heads/\\303\\244\\"x" {c1}\ncreate "refs/heads/a\\142c" {c1}\n',
    "quoted umlaut": 'create "refs/heads/\\303\\244x" {c1}\n',
    "quoted badly": 'create "refs/heads/new {c1}\n',
    "quoted unknown escape": 'create "refs/heads/\\x" {c1}\n',
    "quoted and more": 'create "refs/heads/new"x {c1}\n',
    "an empty old id": 'update refs/heads/new {c1} ""\n',
    "an empty old id without quotes": "update refs/heads/new {c1} \n",
    "an empty new id": "update refs/heads/topic  {c1}\n",
    "extra words": "create refs/heads/new {c1} {c2}\n",
    "extra blank": "create refs/heads/new {c1} \n",
    "tab": "create refs/heads/new\t{c1}\n",
    "no newline": "create refs/heads/new {c1}",
    "no newline at start": "start",
    "empty line": "\n",
    "blank first": " create refs/heads/new {c1}\n",
    "unknown command": "make refs/heads/new {c1}\n",
    "command without words": "create\n",
    "words for none": "start now\n",
    "unknown option": "option deref\n",
    "bad name": "create refs/heads/a..b {c1}\n",
    "no name": "create  {c1}\n",
    "no carriage returns": "create refs/heads/new {c1}\r\n",
}


@pytest.mark.parametrize("text", STREAMS.values(), ids=STREAMS)
def test_a_stream(scene: Scene, twins: tuple[Git, Git], run: Run, text: str) -> None:
    if "symref-" in text and GIT_VERSION < (2, 46):
        pytest.skip("a later git's commands")
    stdin = scene.fill_in(text)
    theirs = twins[0].start(["update-ref", "-m", "why", "--stdin"], stdin, None)
    ours = run("update-ref", "-C", twins[1].path, "-m", "why", "--stdin", stdin=stdin)
    assert_same(twins, theirs, ours)


STRINGS = {
    "create": "create refs/heads/new|{c1}|",
    "update": "update refs/heads/main|{c1}||",
    "update from": "update refs/heads/main|{c1}|{c0}|",
    "update from nothing": "update refs/heads/main|{c1}|{zero}|",
    "empty new id": "update refs/heads/topic||{c1}|",
    "old id missing": "update refs/heads/main|{c1}|",
    "new id missing": "update refs/heads/main|",
    "last NUL missing": "update refs/heads/main|{c1}|{c0}",
    "delete": "delete refs/heads/topic||",
    "verify": "verify refs/heads/topic|{c1}|",
    "verify nothing": "verify refs/heads/new||",
    "verify wrong": "verify refs/heads/topic||create refs/heads/new|{c1}|",
    "a session": "start|create refs/heads/new|{c1}|update HEAD|{c1}|{c0}|prepare|commit|"
    "start|option no-deref|delete refs/heads/sym||abort|",
    "symref-create": "symref-create refs/heads/s|refs/heads/main|",
    "symref-update": "symref-update refs/heads/s|refs/heads/main|||",
    "symref-update from": "option no-deref|"
    "symref-update refs/heads/sym|refs/heads/main|ref|refs/heads/topic|",
    "symref-update too short": "symref-update refs/heads/s|refs/heads/main|",
    "symref-delete": "option no-deref|symref-delete refs/heads/sym|refs/heads/topic|",
    "no quotes": 'create refs/heads/"new"|{c1}|',
    "blanks belong to names": "create refs/heads/a b|{c1}|",
    "unknown": "make|",
    "empty": "|",
}


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
def test_a_stream_of_strings(scene: Scene, twins: tuple[Git, Git], run: Run, text: str) -> None:
    if "symref-" in text and GIT_VERSION < (2, 46):
        pytest.skip("a later git's commands")
    stdin = scene.fill_in(text).replace(b"|", b"\0")
    theirs = twins[0].start(["update-ref", "-z", "--stdin"], stdin, None)
    ours = run("update-ref", "-C", twins[1].path, "-z", "--stdin", stdin=stdin)
    if text == STRINGS["empty new id"]:
        assert b"treating as zero" in theirs.stderr  # a warning that we do not give
    assert_same(twins, theirs, ours)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # git came to refuse this later; before, it lost the symref.
        ("option no-deref\ncreate refs/heads/dangling {c1}\n", b"ref: refs/heads/nothing"),
        # git lets these be, although its lists do not show them.
        ("create new {c1}\n", b"not a valid ref name"),
        ("create heads/new {c1}\n", b"not a valid ref name"),
    ],
)
def test_stricter_than_git(
    scene: Scene, twins: tuple[Git, Git], run: Run, text: str, said: bytes
) -> None:
    before = state(twins[1])
    ours = run("update-ref", "-C", twins[1].path, "--stdin", stdin=scene.fill_in(text))
    assert ours.code == 1
    assert said in ours.err
    assert state(twins[1]) == before


def test_a_directory_that_goes_is_in_nobodys_way(
    scene: Scene, twins: tuple[Git, Git], run: Run
) -> None:
    """git wants two transactions for this."""
    stdin = scene.fill_in("delete refs/heads/dir/sub\ncreate refs/heads/dir {c1}\n")
    assert twins[0].start(["update-ref", "--stdin"], stdin, None).returncode
    assert run("update-ref", "-C", twins[1].path, "--stdin", stdin=stdin).code == 0
    assert twins[1].run("rev-parse", "refs/heads/dir").strip().decode() == scene.objects["c1"]
    assert twins[1].complaints() == twins[0].complaints()  # of the dangling symref


def random_stream(random: Random) -> Iterator[str]:
    """Commands that make sense by themselves, in any order."""
    # Names that become symrefs are not those that they lead to: in circles git and we differ.
    targets = ["main", "topic", "nothing", "new", "dir/sub", "d"]
    symrefs = ["sym", "symsym", "dangling", "s"]
    ids = ["{c0}", "{c1}", "{c2}", "{c3}"]

    def ref() -> str:
        name = random.choice(["HEAD", *targets, *symrefs])
        return name if name == "HEAD" else f"refs/heads/{name}"

    yield "start\n"
    for _ in range(random.randint(1, 4)):
        old = random.choice([*ids, "{zero}"])
        choices = [
            f"create {ref()} {random.choice(ids)}\n",
            f"update {ref()} {random.choice(ids)} {old}\n",
            f"verify {ref()} {old}\n",
            f"verify {ref()}\n",
        ]
        if random.random() < 0.3:
            yield "option no-deref\n"
            # That a dangling symref is something, git says only in later versions.
            choices = [
                f"symref-update refs/heads/{random.choice(symrefs)} "
                f"refs/heads/{random.choice(targets)}\n",
                f"verify {ref()} {random.choice(ids)}\n",
            ]
        choices += [
            f"update {ref()} {random.choice(ids)}\n",
            f"delete refs/heads/{random.choice([*targets, *symrefs])}\n",
        ]
        yield random.choice(choices)
    yield from random.choice([["commit\n"], ["prepare\n", "commit\n"], ["prepare\n", "abort\n"]])


@pytest.mark.skipif(GIT_VERSION < (2, 46), reason="a later git's commands")
@pytest.mark.parametrize("seed", range(4))
def test_random_streams(scene: Scene, twins: tuple[Git, Git], run: Run, seed: int) -> None:
    """One transaction after the other, so that each meets what the others have made."""
    random = Random(seed)
    done = 0
    for _ in range(12):
        text = "".join(random_stream(random))
        stdin = scene.fill_in(text)
        theirs = twins[0].start(["update-ref", "--stdin"], stdin, None)
        ours = run("update-ref", "-C", twins[1].path, "--stdin", stdin=stdin)
        assert_same(twins, theirs, ours)
        done += not ours.code
    assert done


ARGUMENTS = {
    "update": ["refs/heads/new", "{c1}"],
    "by names": ["refs/heads/new", "topic", ""],
    "from": ["refs/heads/main", "{c1}", "{c0}"],
    "from another": ["refs/heads/main", "{c1}", "{c3}"],
    "from nothing": ["refs/heads/main", "{c1}", ""],
    "from zero": ["refs/heads/new", "{c1}", "{zero}"],
    "to zero": ["refs/heads/topic", "{zero}"],
    "to nothing": ["refs/heads/topic", ""],
    "through HEAD": ["HEAD", "{c1}"],
    "HEAD itself": ["--no-deref", "HEAD", "{c1}"],
    "delete": ["-d", "refs/heads/topic"],
    "delete from": ["-d", "refs/heads/topic", "{c1}"],
    "delete from another": ["-d", "refs/heads/topic", "{c2}"],
    "delete from zero": ["-d", "refs/heads/topic", "{zero}"],
    "delete from nothing": ["-d", "refs/heads/topic", ""],
    "create a reflog": ["--create-reflog", "-m", "why", "refs/other/new", "{c1}"],
    "no reflog": ["-m", "why", "refs/other/new", "{c1}"],
    "empty message": ["-m", "", "refs/heads/new", "{c1}"],
    "nonsense": ["refs/heads/new", "nonsense"],
    "one argument": ["refs/heads/new"],
    "too many": ["refs/heads/new", "{c1}", "{c1}", "{c1}"],
    "none": [],
    "-z alone": ["-z", "refs/heads/new", "{c1}"],
    "--stdin and a ref": ["--stdin", "refs/heads/new"],
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(scene: Scene, twins: tuple[Git, Git], run: Run, arguments: list[str]) -> None:
    filled = [scene.fill_in(argument).decode() for argument in arguments]
    theirs = twins[0].start(["update-ref", *filled], b"", None)
    ours = run("update-ref", "-C", twins[1].path, *filled)
    assert_same(twins, theirs, ours)


@pytest.mark.parametrize("setting", [None, "true", "false", "always"])
@pytest.mark.parametrize("bare", [False, True])
def test_who_gets_a_reflog(
    scene: Scene, twins: tuple[Git, Git], run: Run, setting: str | None, bare: bool
) -> None:
    for git in twins:
        git.run("config", "core.bare", str(bare).lower())
        if setting is not None:
            git.run("config", "core.logAllRefUpdates", setting)
    stdin = scene.fill_in(
        "create refs/heads/new {c1}\ncreate refs/remotes/o/x {c1}\ncreate refs/notes/n {c1}\n"
        "create refs/tags/u {c1}\nupdate refs/heads/topic {c2}\nupdate refs/other/x {c3}\n"
        "update HEAD {c1}\n"
    )
    where = [git.git_dir if bare else git.path for git in twins]
    theirs = twins[0].start(["-C", str(where[0]), "update-ref", "--stdin"], stdin, None)
    ours = run("update-ref", "-C", where[1], "--stdin", stdin=stdin)
    assert (ours.code, theirs.returncode) == (0, 0)
    logs = []
    for path in where:
        with dr.Repo(str(path)) as repo:
            logs.append(shown_reflogs(repo.refs))
    assert logs[1] == logs[0]


def test_a_session(scene: Scene, twins: tuple[Git, Git]) -> None:
    """Replies come at once, and what is prepared is locked: as a program would talk to git."""
    _, git = twins
    command = [sys.executable, "-m", "dulwich_reftable", "update-ref", "-C", str(git.path)]
    with subprocess.Popen(
        [*command, "--stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=git.env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def say(text: str) -> None:
            assert process.stdin is not None
            process.stdin.write(scene.fill_in(text))
            process.stdin.flush()

        say("start\n")
        assert process.stdout.readline() == b"start: ok\n"
        say("update refs/heads/topic {c3}\nprepare\n")
        assert process.stdout.readline() == b"prepare: ok\n"
        refused = git.start(["update-ref", "refs/heads/new", scene.objects["c1"]], b"", None)
        assert refused.returncode
        assert b"lock" in refused.stderr
        before = git.run("rev-parse", "refs/heads/topic").strip().decode()
        assert before == scene.objects["c1"]
        say("commit\n")
        assert process.stdout.readline() == b"commit: ok\n"
        assert git.run("rev-parse", "refs/heads/topic").strip().decode() == scene.objects["c3"]
        process.stdin.close()
        assert process.wait() == 0


LOGGED = [
    "@{0}", "@{1}", "@{2}", "@{3}", "@{4}", "HEAD@{1}", "HEAD@{9}", "main@{1}", "topic@{0}",
    "heads/topic@{1}", "topic@{2}", "topic@{2000-01-01}", "@{1}~1", "main@{2}^0", "none@{0}",
    "t@{0}", "@{x", "@{2000-01-01 00:00:00}", "topic@{1.day.ago}", "@{yesterday}",
    "@{1700000150}", "main@{1700000150}", "@{-1}", "@{u}",
]  # fmt: skip


@pytest.mark.parametrize("is_detached", [False, True])
def test_what_reflogs_name(
    scene: Scene, twins: tuple[Git, Git], run: Run, is_detached: bool
) -> None:
    """``@{1}`` is of the current branch, not of HEAD, unless that is all there is."""
    git = twins[0]
    with dr.Repo(str(git.path)) as repo:
        for second, (ref, new) in enumerate([
            ("HEAD", 1), ("refs/heads/topic", 2), ("HEAD", 2), ("refs/heads/main", 3),
        ]):  # fmt: skip
            oid = scene.objects[f"c{new}"].encode()
            repo.refs.set_if_equals(
                ref.encode(), None, oid, None, TIMESTAMP + 100 * second, 0, b"m"
            )
        # The oldest entry of this one begins at another id than zero.
        repo.refs.drop_reflog_entry(b"refs/heads/topic", 1)
    for branch in ("topic", "main"):
        git.run("checkout", "-q", "-f", *["--detach"] * is_detached, branch)
    for name in LOGGED:
        found = git.start(["rev-parse", "--verify", "-q", name], b"", None)
        theirs = None if found.returncode else found.stdout.strip()
        if name in ("@{-1}", "@{u}"):
            theirs = None  # dulwich does not know these
        done = run("update-ref", "-C", git.path, "--no-deref", "refs/x/y", name)
        assert bool(done.code) == (theirs is None), name
        with dr.Repo(str(git.path)) as repo:
            assert repo.refs.read_ref(b"refs/x/y") == theirs, name
            del repo.refs[b"refs/x/y"]


def test_in_a_worktree(scene: Scene, twins: tuple[Git, Git], run: Run) -> None:
    """Its own refs are in its own stack; and it is one transaction all the same."""
    stdin = scene.fill_in(
        "start\nupdate HEAD {c3}\nupdate refs/worktree/mine {c1}\ncreate refs/heads/new {c1}\n"
        "prepare\ncommit\n"
    )
    trees = []
    for git in twins:
        tree = git.path.parent / f"{git.path.name}-tree"
        git.run("worktree", "add", "-q", "--no-checkout", "-b", "tree", tree, "main")
        trees.append(Git(tree))
    theirs = trees[0].start(["update-ref", "-m", "why", "--stdin"], stdin, None)
    ours = run("update-ref", "-C", trees[1].path, "-m", "why", "--stdin", stdin=stdin)
    assert ours.code == 0
    assert_same(twins, theirs, ours)
    assert state(trees[1]) == state(trees[0])
    assert trees[1].run("rev-parse", "HEAD").decode().strip() == scene.objects["c3"]


def test_sha256(pool_of: Callable[[str], ObjectPool], tmp_path: Path, run: Run) -> None:
    pool = pool_of("sha256")
    git = Git.init(tmp_path / "repo", object_format="sha256")
    pool.lend(git.git_dir)
    first, second = pool.commits[:2]
    stdin = b"create HEAD %s\ncreate refs/heads/a %s\n" % (first, second)
    assert run("update-ref", "-C", git.path, "--stdin", stdin=stdin).code == 0
    stdin = b"verify HEAD %s\nupdate refs/heads/a %s %s\ncreate refs/heads/b HEAD\n"
    stdin %= (first, first, second)
    assert run("update-ref", "-C", git.path, "--stdin", stdin=stdin).code == 0
    values = {name: ref.value for name, ref in git.for_each_ref().items()}
    assert values == dict.fromkeys([b"HEAD", b"refs/heads/main", b"refs/heads/a", b"refs/heads/b"],
                                   first)  # fmt: skip
    assert git.complaints() == b""
