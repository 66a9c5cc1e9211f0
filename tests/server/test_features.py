"""The features of the protocol that a repository or a client turns on, with git's client.

CONTRIBUTING.md has the table of all features; those that are not tested here are tested in the
modules that it names.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.git import Git, requires_git

from . import wire
from .pushing import push
from .serving import running

pytestmark = [
    requires_git,
    pytest.mark.parametrize("served", ["tcp-files", "http-reftable"], indirect=True),
]


def traced(git: Git, *args: str) -> tuple[int, str, str]:
    """Run git; gives the exit code, what it said, and the packets."""
    trace = git.path.parent / "packets"
    done = git.start(list(args), b"", {"GIT_TRACE_PACKET": str(trace)})
    packets = trace.read_text() if trace.exists() else ""
    trace.unlink(missing_ok=True)
    return done.returncode, done.stderr.decode(), packets


def asked_of_git(git: Git, request: bytes) -> bytes:
    """Give the answer of git's own ``upload-pack`` to a request of version 2."""
    return subprocess.run(
        ["git", "upload-pack", "--stateless-rpc", str(git.path)],
        input=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GIT_PROTOCOL": "version=2"},
        check=False,
    ).stdout


def command(name: str, *arguments: bytes) -> bytes:
    """Make a request of version 2."""
    return wire.line(f"command={name}\n".encode()) + (
        b"0001" + b"".join(map(wire.line, arguments)) + b"0000"
    )


# Pushes

RECORD = """#!/bin/sh
env | grep ^GIT_PUSH_OPTION | sort >>"$GIT_DIR/options"
echo "$0" | sed 's,.*/,,' >>"$GIT_DIR/options"
"""


@pytest.mark.parametrize("options", [(), ("one", "two words", "späť=\\", "")])
def test_push_options_reach_the_same_hooks_as_gits(
    url: str, origin: Git, work: Git, tmp_path: Path, options: tuple[str, ...]
) -> None:
    theirs = Git.init(tmp_path / "theirs.git", bare=True)
    flags = [f"--push-option={option}" for option in options]
    records = []
    for git, address in ((origin, url), (theirs, str(theirs.path))):
        git.run("config", "receive.advertisePushOptions", "true")
        for name in ("pre-receive", "update", "post-receive", "post-update"):
            path = git.path / "hooks" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(RECORD)
            path.chmod(0o755)
        assert push(work, *flags, address, "main:refs/heads/other")[0] == 0
        records.append((git.path / "options").read_text())
    assert records[0] == records[1]
    assert f"GIT_PUSH_OPTION_COUNT={len(options)}" in records[0]


def test_push_options_are_off_by_default(url: str, work: Git) -> None:
    code, _, said = push(work, "--push-option=x", url, "main:refs/heads/other")
    assert code
    assert "push options" in said


@pytest.mark.parametrize("option", [b"a\0b", b"x" * 60000])
def test_push_options_are_bounded(url: str, origin: Git, option: bytes) -> None:
    origin.run("config", "receive.advertisePushOptions", "true")
    new = origin.run("rev-parse", "main").strip()
    create = wire.line(b"%s %s refs/heads/x\0report-status push-options" % (wire.ZERO, new))
    body = create + b"0000" + wire.line(option) * 20 + b"0000" + wire.EMPTY_PACK
    answer = wire.ask(url, "git-receive-pack", body)
    assert b"push option" in answer
    assert b"refs/heads/x" not in origin.for_each_ref()


def test_the_second_version_of_the_report(url: str, origin: Git, work: Git) -> None:
    origin.run("config", "receive.denyDeletes", "true")
    code, said, packets = traced(
        work, "push", "--porcelain", url, "main:refs/heads/new", ":refs/heads/main"
    )
    assert code == 1
    assert "deletion prohibited" in said + packets
    assert re.search(r"> .*\\0 ?report-status-v2", packets)
    assert "ok refs/heads/new" in packets
    assert {b"refs/heads/new", b"refs/heads/main"} <= origin.for_each_ref().keys()


# Sessions


@pytest.mark.parametrize("version", [1, 2])
def test_a_session_id_is_told_and_logged(
    root: Path, kind: str, origin: Git, work: Git, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dulwich_reftable.server")
    flags = ["-c", f"protocol.version={version}", "-c", "transfer.advertiseSID=true"]
    with running(root, kind) as server:
        url = server.url + "origin.git"
        assert "session-id=" not in traced(work, *flags, "ls-remote", url)[2]
        origin.run("config", "transfer.advertiseSID", "true")
        clone = str(work.path.parent / "clone")
        code, said, packets = traced(work, *flags, "clone", "--bare", url, clone)
        assert code == 0, said
        assert len(re.findall(r"[<>] .*session-id=", packets)) >= 2
        code, said, _ = traced(work, *flags, "push", url, "main:refs/heads/other")
        assert code == 0, said
    lines = [line for line in caplog.text.splitlines() if "[session-id=" in line]
    assert all("[agent=git/" in line for line in lines)
    assert any("git-upload-pack" in line for line in lines)
    assert any("git-receive-pack" in line for line in lines)


def test_server_options_are_logged(
    root: Path, kind: str, origin: Git, work: Git, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dulwich_reftable.server")
    with running(root, kind) as server:
        option = "--server-option=colour=\x1b[31m"
        code, said, _ = traced(work, "ls-remote", option, server.url + "origin.git")
        assert code == 0, said
    assert "[server-option=colour=\\x1b[31m]" in caplog.text


# Version 2


@pytest.mark.parametrize("flags", [[], ["--depth=1"]])
def test_refs_are_wanted_by_name(url: str, origin: Git, tmp_path: Path, flags: list[str]) -> None:
    origin.run("config", "uploadpack.allowRefInWant", "true")
    git = Git.init(tmp_path / "clone", bare=True)
    for ref in ("refs/tags/v1", "refs/heads/main"):
        code, said, packets = traced(git, "fetch", *flags, url, f"{ref}:{ref}")
        assert code == 0, said
        assert re.search(r"fetch> want-ref refs/(heads|tags)/", packets)
        assert re.search(r"fetch< wanted-refs\b", packets)
        assert git.run("rev-parse", ref) == origin.run("rev-parse", ref)
    assert git.complaints() == b""


@pytest.mark.parametrize("name", ["refs/heads/secret", "secret"])
def test_refs_that_nobody_sees_cannot_be_wanted_by_name(url: str, origin: Git, name: str) -> None:
    origin.run("config", "uploadpack.allowRefInWant", "true")
    origin.run("config", "uploadpack.hideRefs", "refs/heads/secret")
    origin.run("update-ref", "refs/heads/secret", "main")
    request = command("fetch", f"want-ref {name}\n".encode(), b"done\n")
    expected = asked_of_git(origin, request)
    assert expected == wire.line(b"ERR unknown ref " + name.encode())
    assert wire.ask(url, "git-upload-pack", request, version=2) == expected


def test_a_ref_is_wanted_once(url: str, origin: Git) -> None:
    origin.run("config", "uploadpack.allowRefInWant", "true")
    request = command("fetch", *[b"want-ref refs/heads/main\n"] * 2, b"done\n")
    answer = wire.ask(url, "git-upload-pack", request, version=2)
    expected = asked_of_git(origin, request)
    assert expected == wire.line(b"ERR duplicate want-ref refs/heads/main")
    assert answer == expected


def test_all_of_an_answer_comes_over_the_side_band(url: str, origin: Git, tmp_path: Path) -> None:
    origin.run("config", "uploadpack.allowSidebandAll", "true")
    git = Git.init(tmp_path / "clone", bare=True)
    for ref in ("refs/tags/v1", "refs/heads/main"):
        code, said, packets = traced(git, "fetch", "--depth=1", url, f"{ref}:{ref}")
        assert code == 0, said
        assert "sideband-all" in packets
    assert git.complaints() == b""
    oid = origin.run("rev-parse", "main").strip()
    arguments = [b"sideband-all\n", b"want %s\n" % oid, b"have %s\n" % oid]
    request = command("fetch", *arguments)
    answer = wire.ask(url, "git-upload-pack", request, version=2)
    assert answer.startswith(wire.line(b"\1acknowledgments\n") + wire.line(b"\1ACK %s\n" % oid))
    begin = answer.index(b"packfile")
    assert answer[:begin] == asked_of_git(origin, request)[:begin]


def test_sizes_of_objects(url: str, origin: Git) -> None:
    everything = origin.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    oids = [*everything.split(), b"1" * 40]
    request = command("object-info", b"size\n", *(b"oid %s\n" % oid for oid in oids))
    answer = wire.ask(url, "git-upload-pack", request, version=2)
    assert answer.startswith(wire.line(b"ERR invalid command b'object-info'"))
    origin.run("config", "transfer.advertiseObjectInfo", "true")
    answer = wire.ask(url, "git-upload-pack", request, version=2)
    assert answer == asked_of_git(origin, request)
    assert len(answer) > 40 * len(oids)


def test_a_clone_begins_with_a_bundle(url: str, origin: Git, work: Git, tmp_path: Path) -> None:
    bundle = tmp_path / "first.bundle"
    work.run("branch", "old", "main~1")
    work.run("bundle", "create", str(bundle), "old")
    for key, value in (
        ("uploadpack.advertiseBundleURIs", "true"),
        ("bundle.version", "1"),
        ("bundle.mode", "all"),
        ("bundle.First.uri", bundle.as_uri()),
    ):
        origin.run("config", key, value)
    request = command("bundle-uri")
    answer = wire.ask(url, "git-upload-pack", request, version=2)
    assert answer == asked_of_git(origin, request)
    assert b"bundle.First.uri=" in answer
    code, said, packets = traced(
        work, "-c", "transfer.bundleURI=true", "clone", "--bare", url, str(tmp_path / "clone")
    )
    assert code == 0, said
    assert "clone> command=bundle-uri" in packets
    clone = Git(tmp_path / "clone")
    assert clone.complaints() == b""
    assert any(name.startswith(b"refs/bundles/") for name in clone.for_each_ref())


def test_what_is_advertised_is_what_git_advertises(url: str, origin: Git, work: Git) -> None:
    """In the same order, but for our name, and for what the table leaves out."""
    for key in (
        "uploadpack.allowFilter", "uploadpack.allowRefInWant", "uploadpack.allowSidebandAll",
        "transfer.advertiseObjectInfo", "uploadpack.advertiseBundleURIs",
    ):  # fmt: skip
        origin.run("config", key, "true")
    both = []
    for address in (url, origin.path.as_uri()):
        packets = traced(work, "-c", "protocol.version=2", "ls-remote", address, "none")[2]
        lines = re.findall(r"packet: +ls-remote< (\S.*)", packets)
        begin = lines.index("version 2")
        offered = lines[begin : lines.index("0000", begin)]
        # Old versions of git do not say what object-info tells.
        offered = [line.replace("object-info=size", "object-info") for line in offered]
        both.append([line for line in offered if not line.startswith(("agent=", "promisor"))])
    assert both[0] == both[1]
