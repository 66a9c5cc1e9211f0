"""A client that waits is told that the server is still there, but not within another packet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dulwich.object_store import MemoryObjectStore
from support.git import Git, requires_git
from support.waiting import wait_for

from dulwich_reftable.server.receive_pack.connectivity import Connectivity
from dulwich_reftable.server.receive_pack.fsck import ObjectChecker
from dulwich_reftable.server.receive_pack.handler import ReceivePackHandler
from dulwich_reftable.server.receive_pack.incoming import IncomingPack
from dulwich_reftable.server.receive_pack.limits import Limits
from dulwich_reftable.server.signs_of_life import SignsOfLife
from dulwich_reftable.server.upload_pack.handler import UploadPackHandler
from dulwich_reftable.server.upload_pack.selection import Selection

from . import making, wire

over_both = pytest.mark.parametrize("served", ["tcp-files", "http-reftable"], indirect=True)
SIGN = b"0005\1"


def signal_after(patch: pytest.MonkeyPatch, kind: type, name: str, heard: threading.Event) -> None:
    """Have a method that sends a sign tell of it."""
    send: Callable[..., None] = getattr(kind, name)

    def sending(handler: Any, *args: bytes) -> None:
        send(handler, *args)
        if not any(args):
            heard.set()

    patch.setattr(kind, name, sending)


def wait_before(patch: pytest.MonkeyPatch, kind: type, name: str, heard: threading.Event) -> None:
    """Have a method wait for a sign, as if its work took long."""
    work: Callable[..., Any] = getattr(kind, name)

    def working(self: Any, *args: Any) -> Any:
        assert heard.wait(30)
        return work(self, *args)

    patch.setattr(kind, name, working)


@requires_git
@over_both
@pytest.mark.parametrize("version", [0, 2])
def test_while_a_pack_is_prepared(
    url: str, origin: Git, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Not only while there is no progress: the client may want none."""
    origin.run("config", "uploadpack.keepAlive", "1")
    heard = threading.Event()
    signal_after(monkeypatch, UploadPackHandler, "_give_sign", heard)
    wait_before(monkeypatch, Selection, "add", heard)
    want = b"want " + origin.run("rev-parse", "main").strip()
    if version == 0:
        capabilities = b" ofs-delta side-band-64k no-progress"
        request = wire.line(want + capabilities) + b"0000" + wire.line(b"done\n")
    else:
        words = (want, b"ofs-delta", b"no-progress", b"done")
        request = wire.line(b"command=fetch") + b"0001" + b"".join(map(wire.line, words)) + b"0000"
    answer = wire.ask(url, "git-upload-pack", request, version=version)
    before, _, after = answer.partition(b"PACK")
    assert SIGN in before
    assert SIGN not in after
    assert after.endswith(b"0000")


@requires_git
@over_both
@pytest.mark.parametrize(
    ("place", "name"), [(Connectivity, "is_complete"), (ObjectChecker, "finish")]
)
def test_while_a_push_is_checked(
    url: str, origin: Git, monkeypatch: pytest.MonkeyPatch, place: type, name: str
) -> None:
    origin.run("config", "receive.keepAlive", "1")
    origin.run("config", "receive.fsckObjects", "true")
    heard = threading.Event()
    signal_after(monkeypatch, ReceivePackHandler, "_tell", heard)
    wait_before(monkeypatch, place, name, heard)
    create = b"%s %s refs/heads/x" % (wire.ZERO, origin.run("rev-parse", "main").strip())
    answer = wire.push(url, create, pack=wire.EMPTY_PACK, capabilities=b"side-band-64k")
    assert answer.startswith(SIGN)
    assert b"ok refs/heads/x" in answer


def test_not_before_the_pack_has_come(tmp_path: Path) -> None:
    """A client over HTTP might not read before it has sent all, and both would wait for ever."""
    pack = BytesIO(making.pack(making.blob(b"x")))
    seen = []
    incoming = IncomingPack(str(tmp_path / "pack"), MemoryObjectStore().object_format, Limits())
    with closing(incoming):
        incoming.receive(
            lambda size: pack.read(min(size, 3)),
            MemoryObjectStore(),
            lambda: seen.append(pack.read()),
        )
    assert seen == [b""]


def test_signs_come_after_silence() -> None:
    said: list[bytes] = []
    heard = threading.Semaphore(0)

    def send() -> None:
        said.append(b"sign")
        heard.release()

    with SignsOfLife(send, 0.01) as signs:
        assert not heard.acquire(timeout=0.03)  # not begun
        signs.begin()
        write = signs.between(said.append)
        assert heard.acquire(timeout=30)
        write(b"text")
        assert heard.acquire(timeout=30)
    assert said.index(b"text") > 0
    assert said[-1] == b"sign"
    at_the_end = list(said)
    assert not heard.acquire(timeout=0.03) or said == at_the_end


def test_no_sign_comes_into_the_middle() -> None:
    said: list[bytes] = []

    def write_slowly(data: bytes) -> None:
        said.append(b"begin")
        threading.Event().wait(0.05)  # signs would be due
        said.append(b"end")

    with SignsOfLife(lambda: said.append(b"sign"), 0.001) as signs:
        signs.begin()
        signs.between(write_slowly)(b"")
    assert said[said.index(b"begin") + 1] == b"end"


def test_who_writes_next_hears_of_a_client_that_has_gone() -> None:
    said: list[bytes] = []

    def send() -> None:
        raise BrokenPipeError

    with SignsOfLife(send, 0.001) as signs:
        signs.begin()
        wait_for(
            lambda: not any(thread.name == "signs of life" for thread in threading.enumerate())
        )
        write = signs.between(said.append)
        with pytest.raises(BrokenPipeError):
            write(b"text")
    assert not said
