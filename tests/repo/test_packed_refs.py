"""The file ``packed-refs``, beside dulwich's reader and git."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from dulwich.errors import PackedRefsException

from dulwich_reftable.engine.stack import files
from dulwich_reftable.repo import packed_refs
from dulwich_reftable.repo.packed_refs import PackedRefs

HEADER = b"# pack-refs with: peeled fully-peeled sorted \n"
Ref = tuple[bytes, bytes, bytes]


def some_refs(draw: random.Random, hex_size: int = 40) -> list[Ref]:
    """Names, values and peeled values, in order."""
    pieces = [b"a", b"b", b"tags", b"heads", b"x" * 50, b"\xc3\xa4", b"v1.0"]
    names = {b"refs/" + b"/".join(draw.choices(pieces, k=draw.randrange(1, 5))) for _ in range(60)}

    def oid() -> bytes:
        return b"%0*x" % (hex_size, draw.getrandbits(4 * hex_size))

    return [(name, oid(), oid() if draw.random() < 0.3 else b"") for name in sorted(names)]


def text_of(refs: list[Ref], end: bytes = b"\n") -> bytes:
    lines = [
        b"%s %s%s" % (oid, name, end) + (b"^%s%s" % (peeled, end) if peeled else b"")
        for name, oid, peeled in refs
    ]
    return b"".join(lines)


def listed(packed: PackedRefs, prefix: bytes = b"") -> list[Ref]:
    return [ref for chunk in packed.chunks(prefix) for ref in zip(*chunk, strict=True)]


@pytest.mark.parametrize("piece", [1, 100, 1 << 16])
@pytest.mark.parametrize("hex_size", [40, 64])
def test_refs_are_found_and_listed(
    piece: int, hex_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_refs, "_PIECE", piece)
    draw = random.Random(piece)
    for _ in range(8):
        refs = some_refs(draw, hex_size)
        text = HEADER + text_of(refs, draw.choice([b"\n", b"\r\n"]))
        packed = PackedRefs(text.rstrip() if draw.random() < 0.3 else text)
        assert listed(packed) == refs
        for name, oid, _ in refs:
            assert packed.find(name) == oid
            for other in (name + b"/", name[:-1], name + b"\0"):
                assert packed.find(other) == dict(r[:2] for r in refs).get(other)
            prefix = name[: draw.randrange(len(name) + 1)]
            assert listed(packed, prefix) == [ref for ref in refs if ref[0].startswith(prefix)]
        assert listed(packed, b"refs/zz") == listed(packed, b"a") == []


def test_a_file_that_is_not_sorted() -> None:
    """Files without that trait, with and without a header, are read as well."""
    draw = random.Random(1)
    refs = some_refs(draw)
    shuffled = draw.sample(refs, len(refs))
    for header in (b"", b"# pack-refs with: peeled \n", b"# a note\n"):
        packed = PackedRefs(header + text_of(shuffled))
        assert listed(packed) == refs
        assert all(packed.find(name) == oid for name, oid, _ in refs)


def test_no_refs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "packed-refs"
    for text in (None, b"", HEADER, HEADER[:-1], b"# a note\n"):
        if text is not None:
            path.write_bytes(text)
        for is_windows in (False, True):
            monkeypatch.setattr(files, "IS_WINDOWS", is_windows)
            packed = PackedRefs.open(str(path))
            assert listed(packed) == []
            assert packed.find(b"refs/heads/main") is None


def test_what_is_no_ref_is_an_error() -> None:
    good = text_of([(b"refs/heads/main", b"1" * 40, b"")])
    for junk in (b"\n", b"junk\n", b"1" * 39 + b" refs/x\n", b"^" + b"1" * 40 + b"\n", b"\0"):
        for text in (junk + good, good + junk, good + good + junk):
            if junk[:1] == b"^" and text[-len(junk) :] == junk:
                continue  # a peeled value
            with pytest.raises(PackedRefsException):
                listed(PackedRefs(HEADER + text))
            with pytest.raises(PackedRefsException):
                PackedRefs(text)


def test_an_open_file_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "packed-refs"
    refs = some_refs(random.Random(2))
    path.write_bytes(HEADER + text_of(refs))
    packed = PackedRefs.open(str(path))
    (tmp_path / "new").write_bytes(HEADER)
    (tmp_path / "new").replace(path)
    assert listed(packed) == refs
    assert listed(PackedRefs.open(str(path))) == []
