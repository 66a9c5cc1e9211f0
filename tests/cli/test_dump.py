"""``dump``: of sound tables all that the engine and git read; of damaged ones what can be read."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.tables import flat, log, numbered, oid, ref, sorted_logs, write
from engine.test_corruption import KINDS, changed
from support.git import Git, requires_git

import dulwich_reftable as dr
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from .conftest import Done, Run

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.ref"))
SAMPLES = [*(pytest.param(path.read_bytes(), id=path.stem) for path in VECTORS)]
SAMPLES += [pytest.param(data, id=name) for name, data in KINDS.items()]


def document(done: Done) -> Any:
    """The one JSON document that a command has printed."""
    return json.loads(done.out)


def records_of(table: Any, kind: str) -> Iterator[Any]:
    """All records of blocks of one type."""
    for block in table["blocks"]:
        if block.get("type") == kind:
            yield from block["records"]


def ref_of(record: Any) -> RefRecord:
    """Make a record of what a dump says."""

    def raw(key: str) -> bytes | None:
        return bytes.fromhex(record[key]) if key in record else None

    target = record["target"].encode() if "target" in record else None
    name, index = record["name"].encode(), record["update_index"]
    return RefRecord(name, index, raw("value"), raw("peeled"), target)


def log_of(record: Any) -> LogRecord:
    """Make a record of what a dump says."""
    name, index = record["name"].encode(), record["update_index"]
    if record.get("deleted"):
        return LogRecord(name, index)
    old, new = bytes.fromhex(record["old"]), bytes.fromhex(record["new"])
    who, email = record["committer"].encode(), record["email"].encode()
    when, zone, message = record["time"], record["tz_offset"], record["message"].encode()
    return LogRecord(name, index, LogUpdate(old, new, who, email, when, zone, message))


@pytest.mark.parametrize("data", SAMPLES)
def test_what_the_engine_reads(data: bytes, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "t.ref"
    path.write_bytes(data)
    done = run("dump", "--json", path)
    assert (done.code, done.err) == (0, b"")
    shown = document(done)
    table = Table("t.ref", data)
    assert shown["size"] == len(data)
    assert shown["damage"] is None
    assert shown["header"] == {
        "version": table.version,
        "block_size": table.block_size,
        "min_update_index": table.min_update_index,
        "max_update_index": table.max_update_index,
        "hash_size": table.hash_size,
    }
    assert shown["footer"]["is_sound"] is True
    assert shown["footer"]["checksum"] == zlib.crc32(data[-44 - table.layout.header_size : -4])
    assert [ref_of(record) for record in records_of(shown, "ref")] == flat(table.ref_records())
    assert [log_of(record) for record in records_of(shown, "log")] == flat(table.log_records())
    begins = {block["position"]: block for block in shown["blocks"]}
    for record in records_of(shown, "index"):
        below = begins[record["position"]]
        last = below["records"][-1]
        for key in ("name", "update_index", "prefix"):
            assert record.get(key) == last.get(key) or (below["type"], key) == (
                "ref",
                "update_index",
            )
    for record in records_of(shown, "obj"):
        for position in record["positions"]:
            below = begins[position]
            ids = [r.get(key, "") for r in below["records"] for key in ("value", "peeled")]
            assert any(found.startswith(record["prefix"]) for found in ids)
    for block in shown["blocks"]:
        offsets = {record["offset"] for record in block["records"]}
        assert offsets >= {*block["restarts"]}
        assert block["restarts"][0] == min(offsets)


@pytest.mark.parametrize("data", SAMPLES)
def test_the_text_says_the_same(data: bytes, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "t.ref"
    path.write_bytes(data)
    shown = document(run("dump", "--json", path))
    done = run("dump", path)
    assert done.code == 0
    text = done.out.decode()
    assert text.count(" block at ") - text.count("  block at ") == len(shown["blocks"])
    for kind in ("ref", "log"):
        for record in records_of(shown, kind):
            assert record["name"] in text
            if record.get("old") == record.get("new") == "0" * 40:
                assert f"@{record['update_index']} exists" in text
                continue
            for key in ("value", "peeled", "target", "old", "new", "message", "committer"):
                assert record.get(key, "").rstrip("\n") in text
    for record in records_of(shown, "obj"):
        assert f"{record['prefix']}  {' '.join(map(str, record['positions']))}" in text


V1 = """\
table   v1.ref, 326 bytes
header  version 1 (SHA-1), blocks of 4096, update indexes 1 to 3
footer  at 258, checksum bde1d089 is right

ref block at 0: 258 bytes, 6 records, 2 restarts
      28 * HEAD                      @1 -> refs/heads/main
      51 * refs/heads/main           @2 82f1a3ed2b92d03affcbae35a57ec681269eadbf
      89   refs/heads/topic          @2 0627a896d52d3f39f82aa9b9bcb1f8de7de060c3
     117   refs/remotes/origin/HEAD  @3 -> refs/remotes/origin/main
     165   refs/tags/annotated       @2 8f3478f0b17fb954188ec35443cc03f2d622b2e4 \
peeled 82f1a3ed2b92d03affcbae35a57ec681269eadbf
     222   refs/tags/light           @2 0627a896d52d3f39f82aa9b9bcb1f8de7de060c3

section  position  bytes  blocks  records
ref             0    258       1        6
"""


def test_the_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VECTORS[0].parent)
    assert run("dump", "v1.ref").out.decode() == V1


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ([], {"ref", "ref index", "obj", "log", "log index"}),
        (["--refs"], {"ref"}),
        (["--logs", "--objs"], {"log", "obj"}),
        (["--index"], {"ref index", "log index"}),
    ],
)
def test_choice(run: Run, options: list[str], kinds: set[str]) -> None:
    path = VECTORS[0].parent / "log-blocks.ref"
    text = run("dump", *options, path).out.decode()
    assert {*re.findall(r"^(\S.*) block at ", text, re.M)} == kinds
    shown = document(run("dump", "--json", *options, path))
    assert {block["type"] for block in shown["blocks"]} == {kind.split()[-1] for kind in kinds}
    shown = document(run("dump", "--json", "--no-records", *options, path))
    assert not any("records" in block for block in shown["blocks"])


def test_odd_bytes(tmp_path: Path, run: Run) -> None:
    """Whatever is in names and messages, the text is lines; JSON brings it back."""
    name, message = b"refs/heads/\xff\xc3\xa4\x1b[1m", b"one\ntwo\x07\n"
    path = tmp_path / "t.ref"
    path.write_bytes(write([ref(name, 1)], [log(name, 2, 2, message)]))
    done = run("dump", path)
    assert done.code == 0
    assert b"refs/heads/\\xff\xc3\xa4\\x1b[1m" in done.out
    assert rb"one\ntwo\x07" in done.out
    assert b"\x1b" not in done.out
    shown = document(run("dump", "--json", path))
    (record,) = records_of(shown, "log")
    assert record["name"].encode(errors="surrogateescape") == name
    assert record["message"].encode() == message


@requires_git
def test_a_repository(tmp_path: Path, run: Run) -> None:
    """All tables of all worktrees, in their order, and together what git shows."""
    git = Git.init(tmp_path / "repo", compacting=False)
    git.run("commit", "-q", "--allow-empty", "-m", "c")
    git.run("worktree", "add", "--no-checkout", "-q", "-b", "tree", "../tree")
    done = run("dump", "--json", git.path)
    assert done.code == 0
    main, tree = document(done)["stacks"]
    assert (main["worktree"], tree["worktree"]) == (None, "tree")
    assert main["list"] == [path.name for path in git.tables()]
    assert [Path(table["file"]).name for table in main["tables"]] == main["list"]
    seen: dict[bytes, bytes | None] = {}
    for table in main["tables"]:
        for record in records_of(table, "ref"):
            seen[record["name"].encode()] = record.get("value", "").encode() or None
    for name, listed in git.for_each_ref().items():
        assert seen[name] in (listed.value, None)
    text = run("dump", git.path).out.decode()
    assert text.count("\ntable   ") == len(main["list"]) + len(tree["list"])
    git.tables()[0].unlink()
    done = run("dump", "--json", git.path)
    assert done.code == 1
    assert main["list"][0] in document(done)["stacks"][0]["faults"][0]
    assert run("dump", git.path).code == 1


def test_several_tables(run: Run, tmp_path: Path) -> None:
    """One after the other, as a shell's ``*.ref`` gives them; in JSON they are one document."""
    paths = [VECTORS[0].parent / name for name in ("v1.ref", "log-blocks.ref")]
    alone = [run("dump", path).out for path in paths]
    assert run("dump", *paths).out == b"\n".join(alone)
    documents = [document(run("dump", "--json", path)) for path in paths]
    assert document(run("dump", "--json", *paths)) == {"tables": documents}
    for odd in (tmp_path, tmp_path / "none.ref"):
        done = run("dump", paths[0], odd)
        assert (done.code, done.out) == (1, b"")
        assert done.err.count(b"\n") == 1


# -- damage


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_cut_tables(data: bytes, tmp_path: Path, run: Run) -> None:
    """Records up to the cut are there."""
    path = tmp_path / "t.ref"
    known = [record.name.decode() for record in flat(Table("t.ref", data).ref_records())]
    most = 0
    for length in (*range(0, len(data), 17), len(data) - 1):
        path.write_bytes(data[:length])
        done = run("dump", path)
        assert done.code == 1
        assert b"corrupt at" in done.out
        done = run("dump", "--json", path)
        assert done.code == 1
        shown = document(done)
        assert shown["damage"]["offset"] is not None
        names = [record["name"] for record in records_of(shown, "ref")]
        assert names == known[: len(names)]
        assert len(names) >= most  # no more bytes tell of fewer refs
        most = len(names)
    assert most == len(known)


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_flipped_bytes(data: bytes, tmp_path: Path, run: Run) -> None:
    """Whatever is flipped, there is a report; and what the engine refuses is exit code 1."""
    path = tmp_path / "t.ref"
    for at in range(0, len(data), 17):
        damaged = changed(data, at, 0xFF)
        path.write_bytes(damaged)
        try:
            table = Table("t.ref", damaged)
            flat(table.ref_records())
            flat(table.log_records())
            is_refused = False
        except dr.CorruptTableError:
            is_refused = True
        done = run("dump", path)
        assert done.code >= is_refused
        assert (b"corrupt" in done.out) == bool(done.code)
        document(run("dump", "--json", path))


def test_damage_in_the_middle(tmp_path: Path, run: Run) -> None:
    """The blocks before and behind are shown, and where it breaks."""
    data = bytearray(write(numbered(100), [], WriteOptions(512)))
    data[512 + 1] ^= 0x80
    path = tmp_path / "t.ref"
    path.write_bytes(data)
    done = run("dump", path)
    assert done.code == 1
    assert b"corrupt at 512: block length" in done.out
    shown = document(run("dump", "--json", path))
    names = [record["name"].encode() for record in records_of(shown, "ref")]
    assert names == [record.name for record in numbered(100)]  # also of the damaged one


@pytest.mark.parametrize("kind", ["log", "ref"])
def test_an_index_leads_on(kind: str, tmp_path: Path, run: Run) -> None:
    """Where blocks are not aligned, their index tells where the next one is."""
    records = numbered(300)
    logs = [log(b"refs/heads/%05d" % i, 1, i, b"message\n") for i in range(300)]
    path = tmp_path / "t.ref"
    path.write_bytes(write(records, logs, WriteOptions(256, aligned=False)))
    blocks = document(run("dump", "--json", path))["blocks"]
    leaves = [block for block in blocks if block["type"] == kind]
    assert sum(block["type"] == "index" and block["of"] == kind for block in blocks) > 2
    data = bytearray(path.read_bytes())
    lost = leaves[5::20]
    for block in lost:
        at = block["position"] + 4
        data[at : at + 2] = b"\xff\xff"  # no zlib header; a prefix shared with no key
        if kind == "ref":
            data[block["position"] + 1] = 0xFF  # nor a length
    path.write_bytes(data)
    done = run("dump", "--json", path)
    assert done.code == 1
    shown = document(done)
    told = {block["damage"]["offset"] for block in shown["blocks"] if "damage" in block}
    assert told >= {block["position"] for block in lost}
    names = {record["name"] for record in records_of(shown, kind)}
    for block in leaves:
        if block not in lost:
            assert {record["name"] for record in block["records"]} <= names


@pytest.mark.parametrize("end", ["header", "footer"])
def test_one_end_is_damaged(end: str, tmp_path: Path, run: Run) -> None:
    """The other one tells what the blocks are to be read with."""
    logs = sorted_logs(log(b"refs/heads/%05d" % i, 1, i, size=32) for i in range(20))
    options = WriteOptions(512, hash_size=32)
    data = bytearray(write(numbered(100, size=32), logs, options))
    at = 0 if end == "header" else len(data) - 72
    data[at : at + 8] = b"x" * 8
    path = tmp_path / "t.ref"
    path.write_bytes(data)
    done = run("dump", "--json", path)
    assert done.code == 1
    shown = document(done)
    assert shown["damage"]
    assert len([*records_of(shown, "ref")]) == 100
    assert len([*records_of(shown, "log")]) == 20


def test_a_log_that_breaks_off(tmp_path: Path, run: Run) -> None:
    """Of a log block that does not inflate, what does is shown."""
    logs = [log(b"refs/heads/a", 900 - i, i, b"message %d %s\n" % (i, oid(i).hex().encode()))
            for i in range(1, 60)]  # fmt: skip
    data = write([], logs, WriteOptions(1 << 16))
    path = tmp_path / "t.ref"
    path.write_bytes(data[: len(data) // 2])
    done = run("dump", "--json", path)
    assert done.code == 1
    shown = [log_of(record) for record in records_of(document(done), "log")]
    assert 10 < len(shown) < 59
    assert shown == logs[: len(shown)]


def test_what_is_no_table(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "x"
    done = run("dump", path)
    assert done.code == 1
    assert str(path).encode() in done.err
    path.write_bytes(b"ref: refs/heads/main\n")
    done = run("dump", path)
    assert done.code == 1
    assert b"too few for a table" in done.out
    path.write_bytes(b"x" * 300)
    assert b"magic number is missing" in run("dump", path).out


@pytest.mark.parametrize("kind", ["refs", "logs"])
def test_a_lost_block_of_any_size(kind: str, tmp_path: Path, run: Run) -> None:
    """What a broken block may have in it is bounded by the largest that there can be."""
    if kind == "refs":
        records = numbered(20, pattern=b"refs/heads/%05d")
        data = bytearray(write(records, [], WriteOptions(aligned=False)))
        data[25:28] = b"\xff\xff\xff"
        data[-68:] = b"\xff" * (1 << 25)  # no footer, and more than a block can be
    else:
        options = WriteOptions((1 << 24) - 1)
        data = bytearray(write([], [log(b"a", 1, 1, b"m" * 15_000_000)], options))[:9000]
    path = tmp_path / "t.ref"
    path.write_bytes(data)
    done = run("dump", path)
    assert done.code == 1
    assert (b"refs/heads/00019" in done.out) == (kind == "refs")
