"""Repositories that check pushed objects: git and we judge each object alike."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from dulwich.object_store import DiskObjectStore
from dulwich.refs import DictRefsContainer
from support.git import Git, requires_git

from dulwich_reftable.objects.reader import ObjectReader
from dulwich_reftable.server.errors import PackError
from dulwich_reftable.server.receive_pack.connectivity import Connectivity
from dulwich_reftable.server.receive_pack.fsck import ObjectChecker
from dulwich_reftable.server.receive_pack.fsck_settings import FsckSettings
from dulwich_reftable.server.receive_pack.limits import Limits
from dulwich_reftable.server.receive_pack.quarantine import Quarantine

from . import making as make
from . import wire
from .making import COMMIT, TAG, TREE, WHO, Object
from .pushing import push

pytestmark = requires_git

FILE = make.blob(b"a file\n")
EMPTY = make.tree()

NAMES = [
    *(b".git", b".GIT", b".git ", b".git. .", b".git::$DATA", b"git~1", b"GIT~1.", b"git~2"),
    *(b".g\xe2\x80\x8cit", b".git\xff", b".gitx", b"x\\.git", b"x\\git~1", b"git~1x", b".git\\x"),
    *(b"a/b", b".", b"..", b"...", b"x" * 4096, b"x" * 4097),
    *(b".gitmodules", b".GitModules", b"gitmod~1", b"gitmod~5", b"gi7eba~1", b"gi7eb~10"),
    *(b"gi7eba~9", b"g~123456", b"gi7eba~0", b".gitmodules .", b".gitmodules:x", b"x\\gitmod~2"),
    *(b".gitattributes", b"gitatt~1", b"gi7d29~1", b".gitignore", b".mailmap", b"mailma~1"),
    b".gitm\xe2\x80\x8dodules",
]


def trees() -> Iterator[tuple[str, Object]]:
    """Trees that may be wrong."""
    file, directory = FILE.oid, EMPTY.oid
    for name in NAMES:
        for mode in (b"100644", b"120000"):
            yield f"{mode.decode()}-{len(name)}-{name[:20]!r}", make.tree((mode, name, file))
    for mode in (b"100664", b"0100644", b"040000", b"100755", b"777", b"100600", b"160000", b"1"):
        oid = directory if mode.endswith(b"40000") else file
        yield f"mode-{mode.decode()}", make.tree((mode, b"x", oid))
    yield "directory .git", make.tree((b"40000", b".git", directory))
    yield "directory .gitmodules", make.tree((b"40000", b".gitmodules", directory))
    yield "null", make.tree((b"160000", b"x", wire.ZERO))
    orders = [
        (b"b", b"a"),
        (b"a", b"a"),
        (b"a", b"a/"),
        (b"a", b"a.b", b"a/"),
        (b"a.b", b"a/", b"a0"),
        (b"a0", b"a/"),
        (b"a", b"a.b", b"a.b.c", b"a.b/", b"a/"),
        (b"foo", b"foo.bar", b"foo.bar.baz", b"foo.bar/", b"foo.x/"),
        (b"a/", b"a"),
        (b"ab", b"a"),
    ]
    for order in orders:
        entries = [
            (b"40000", name[:-1], directory) if name.endswith(b"/") else (b"100644", name, file)
            for name in order
        ]
        yield f"order-{order!r}", make.tree(*entries)
    raw = bytes.fromhex(file.decode())
    yield "short", Object(TREE, b"100644 x\0" + raw[:-1])
    yield "nameless", Object(TREE, b"100644 \0" + raw)
    yield "not octal", Object(TREE, b"10064x x\0" + raw)


IDENTITIES = [
    b"",
    b"x",
    b"<c@e> 1 +0000",
    b" <c@e> 1 +0000",
    b"C<c@e> 1 +0000",
    b"C > <c@e> 1 +0000",
    b"C <c@e",
    b"C <c<@e> 1 +0000",
    b"C <c@e>1 +0000",
    b"C <c@e> ",
    b"C <c@e> x +0000",
    b"C <c@e> 0 +0000",
    b"C <c@e> 01 +0000",
    b"C <c@e>  1 +0000",
    b"C <c@e> 1x +0000",
    b"C <c@e> 1+0000",
    b"C <c@e> 9223372036854775807 +0000",
    b"C <c@e> 9223372036854775808 +0000",
    b"C <c@e> 99999999999999999999999999 +0000",
    b"C <c@e> 1 0000",
    b"C <c@e> 1 +000",
    b"C <c@e> 1 +00000",
    b"C <c@e> 1 +0000 ",
    b"C <c@e> 1",
    b"C <> 1 +0000",
]


def commits() -> Iterator[tuple[str, Object]]:
    tree = b"tree " + EMPTY.oid
    author, committer = b"\nauthor " + WHO, b"\ncommitter " + WHO
    bodies = {
        "fine": tree + author + committer + b"\n\nx\n",
        "no body": tree + author + committer + b"\n",
        "no newline": tree + author + committer,
        "NUL in header": tree + author + b"\0" + committer + b"\n\n",
        "NUL in body": tree + author + committer + b"\n\nx\0\n",
        "no author": tree + committer + b"\n\n",
        "two authors": tree + author + author + committer + b"\n\n",
        "no committer": tree + author + b"\n\n",
        "other header": tree + author + committer + b"\nencoding x\n\n",
        "early header": tree + b"\nx y" + author + committer + b"\n\n",
        "header between": tree + author + b"\nx y" + committer + b"\n\n",
    }
    for name, body in bodies.items():
        yield name, Object(COMMIT, body)
    for line in IDENTITIES:
        yield f"author {line!r}", Object(COMMIT, tree + b"\nauthor " + line + committer + b"\n\n")
        yield (
            f"committer {line!r}",
            Object(COMMIT, tree + author + b"\ncommitter " + line + b"\n\n"),
        )


def tags() -> Iterator[tuple[str, Object]]:
    head = b"object " + FILE.oid
    kind, tagger = b"\ntype blob", b"\ntagger " + WHO
    bodies = {
        "fine": head + kind + b"\ntag x" + tagger + b"\n\nx\n",
        "no tagger": head + kind + b"\ntag x\n\nx\n",
        "odd name": head + kind + b"\ntag x..y" + tagger + b"\n\nx\n",
        "no name": head + kind + tagger + b"\n\nx\n",
        "odd type": head + b"\ntype blobs\ntag x" + tagger + b"\n\nx\n",
        "other header": head + kind + b"\ntag x" + tagger + b"\nx y\n\nx\n",
        "signed": head + kind + b"\ntag x" + tagger + b"\ngpgsig x\n y\n\nx\n",
        "bad tagger": head + kind + b"\ntag x\ntagger x\n\nx\n",
        "NUL": head + kind + b"\ntag x" + tagger + b"\n\nx\0\n",
    }
    for name, body in bodies.items():
        yield name, Object(TAG, body)


URLS = [
    *(b"-x", b"https://e.com/x", b"./x", b"../x", b"../../:x", b"..//x", b".././/x", b"./:x"),
    *(b"git://e/%0ax", b"https://e%0a.com/", b"https://e.com/%0a", b"https:///x", b"http::-x"),
    *(b"https::x", b"http::https://e.com/x", b"ftp://e:99999/x", b"https://e:80/x", b"../a%0a"),
    *(b"https://e/../x", b"https://e/a/../x", b"https://e/%zz", b"ssh://-x/y", b"file:///x"),
    *(b"https://u@e/x", b"https://e?x", b"git@e:x", b"https://e/a b"),
]


def gitmodules() -> Iterator[bytes]:
    """Files that may be wrong."""
    for url in URLS:
        yield b'[submodule "a"]\n\tpath = a\n\turl = "%s"\n' % url
    for name in (b"..", b"a/..", b"a/../b", b"..a", b"a\\\\..", b"", b"a..b", b'a\\"b/..'):
        yield b'[submodule "%s"]\n\tpath = a\n' % name
    yield from (b"[submodule.-x]\nurl=-a\n", b"[submodule]\nurl=-a\n", b'[other "a"]\nurl=-a\n')
    yield from (b'[submodule "a"]\npath = -a\n', b'[submodule "a"] path=-a\n')
    yield from (b'[submodule "a"]\nupdate = !x\n', b'[submodule "a"]\nupdate=rebase\n')
    yield from (b'[submodule "a"]\nurl\n', b'[submodule "a"]\nurl = "-\n', b"[sub\nurl=x\n")
    yield from (b'[submodule "a"]\nurl = \\\n-x\n', b'[submodule "a"]\nurl = "" -x\n')
    yield from (b'[submodule "a"]\r\nurl = -x\r\n', b'[submodule "a"]\nurl = x;-y\n')
    yield from (b'[submodule "a"]\nurl = \\x-\n', b'[SUBMODULE "a"]\nURL=-x\n', b"\xef\xbb\xbf")
    yield from (b'\xef\xbb\xbf[submodule "a"]\nurl=-x\n', b'[submodule "a"]\nurl=-x\n[\n')
    yield from (b'[submodule "a"]\n[\nurl=-x\n', b'# x\n; y\n[submodule "a"] # z\nurl=-x\n')


def cases() -> Iterator[tuple[str, list[Object]]]:
    for name, tree in trees():
        yield f"tree {name}", [FILE, EMPTY, tree, make.commit(tree.oid)]
    for name, commit in commits():
        yield f"commit {name}", [EMPTY, commit]
    for name, tag in tags():
        yield f"tag {name}", [FILE, tag]
    for data in gitmodules():
        blob = make.blob(data)
        tree = make.tree((b"100644", b".gitmodules", blob.oid))
        yield f"modules {data!r}", [blob, tree, make.commit(tree.oid)]
    for size in (2047, 2048):
        blob = make.blob(b"x\n" + b"y" * size + b"\n")
        tree = make.tree((b"100644", b".gitattributes", blob.oid))
        yield f"attributes {size}", [blob, tree, make.commit(tree.oid)]
    lost = make.tree((b"100644", b"x", b"12" * 20))
    yield "an object beside that lacks another", [EMPTY, make.commit(EMPTY.oid), lost]


def ours(store: DiskObjectStore, objects: list[Object], settings: FsckSettings) -> str:
    """Receive a pack as our server does; return why it is refused, or an empty text."""
    checker = ObjectChecker(settings, 20)
    with Quarantine(store, fsync_objects=False, unpack_limit=100) as quarantine:
        try:
            pack = quarantine.receive(BytesIO(make.pack(*objects)).read, Limits(), checker)
            checker.finish(quarantine.read)
        except PackError as error:
            return str(error)
        walk = Connectivity(pack, ObjectReader(store), DictRefsContainer({}))
        return "" if walk.is_complete(oid.hex().encode() for oid in pack) else str(walk.problem)


def test_the_same_verdict(tmp_path: Path) -> None:
    git = Git.init(tmp_path / "git", bare=True)
    wrong = {}
    verdicts = Counter[bool]()
    with closing(DiskObjectStore.init(str(tmp_path / "objects"))) as store:
        for name, objects in cases():
            done = git.start(["unpack-objects", "--strict", "-q"], make.pack(*objects), None)
            said = ours(store, objects, FsckSettings())
            if bool(said) != bool(done.returncode):
                wrong[name] = said, done.stderr
            # For most, git says the name of the message that settings use.
            if b"error: object" in done.stderr and said.encode().split(b": ")[1] not in done.stderr:
                wrong[name] = said, done.stderr
            verdicts[bool(said)] += 1
    assert not wrong
    assert min(verdicts[False], verdicts[True]) > 50


DOTGIT = make.tree((b"40000", b".git", EMPTY.oid))
PADDED = make.tree((b"0100644", b"x", FILE.oid))
MODULES = make.tree((b"120000", b".gitmodules", FILE.oid))
UNTAGGED = Object(TAG, b"object %s\ntype blob\ntag x\n\nx\n" % FILE.oid)


@pytest.mark.parametrize(
    "settings",
    [
        ["transfer.fsckObjects=true"],
        ["receive.fsckObjects=false", "transfer.fsckObjects=true"],
        ["receive.fsckObjects=true", "receive.fsck.hasDotgit=ignore"],
        ["receive.fsckObjects=true", "receive.fsck.HASDOTGIT=warn", "receive.fsck.nonsense=warn"],
        ["receive.fsckObjects=true", "receive.fsck.zeroPaddedFilemode=warn"],
        ["receive.fsckObjects=true", "receive.fsck.missingTaggerEntry=error"],
        ["receive.fsckObjects=true", "receive.fsck.skipList=LIST"],
    ],
    ids=lambda settings: " ".join(settings),
)
@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_settings(url: str, origin: Git, tmp_path: Path, settings: list[str]) -> None:
    """Settings count as they do for git's receive-pack."""
    (tmp_path / "list").write_bytes(b"# known\n  %s # bad\n\n" % DOTGIT.oid)
    shutil.copytree(origin.path, tmp_path / "theirs.git")
    theirs = Git(tmp_path / "theirs.git")
    for setting in settings:
        key, _, value = setting.replace("LIST", str(tmp_path / "list")).partition("=")
        for git in (origin, theirs):
            git.run("config", key, value)
    for number, top in enumerate([EMPTY, DOTGIT, PADDED, MODULES, UNTAGGED]):
        tip = top if top.type_num == TAG else make.commit(top.oid)
        pack = make.pack(*dict.fromkeys((FILE, EMPTY, top, tip)))
        place = b"tags" if top.type_num == TAG else b"heads"
        command = b"%s %s refs/%s/n%d" % (wire.ZERO, tip.oid, place, number)
        said = make.outcomes(wire.push(url, command, pack=pack))
        expected = make.push_to_git(theirs, command, pack=pack)
        assert said == expected
    origin.run("config", "fsck.hasDotgit", "ignore")
    origin.run("config", "fsck.zeroPaddedFilemode", "ignore")
    origin.run("config", "fsck.gitmodulesSymlink", "ignore")
    origin.run("config", "fsck.missingTaggerEntry", "ignore")


NONSENSE = ["largePathname=error:3", "nulInHeader=warn", "hasDot=perhaps", "skipList=/no/such"]


@pytest.mark.parametrize("setting", NONSENSE)
@pytest.mark.parametrize("served", ["tcp-reftable"], indirect=True)
def test_settings_that_make_no_sense(url: str, origin: Git, work: Git, setting: str) -> None:
    """What to check is unknown then, so nothing is let in, as in git."""
    origin.run("config", "receive.fsckObjects", "true")
    key, _, value = setting.partition("=")
    origin.run("config", f"receive.fsck.{key}", value)
    before = origin.for_each_ref()
    work.run("commit", "-q", "--allow-empty", "-m", "new")
    for where in (url, str(origin.path)):
        assert push(work, where, "main")[0] != 0
    assert origin.for_each_ref() == before
