# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A repository with reftable refs, from the first commit to what lies on disk.

Run it without arguments to work in a temporary directory, or name a directory to keep the
repository: ``python examples/quickstart.py /tmp/demo``. If a git that knows reftable (2.45 or
newer) is there, git makes the repository and checks it in the end; else dulwich-reftable makes it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

from dulwich import porcelain

import dulwich_reftable as dr
from dulwich_reftable.engine.stack.directory import DirectoryStorage
from dulwich_reftable.engine.stack.stack import Stack

ME = b"Ada <ada@example.com>"


def git(*args: str) -> str | None:
    """Run git and give what it prints, or None if there is no git that knows reftable."""
    try:
        version = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        return None
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < (2, 45):
        return None
    run = subprocess.run(["git", *args], capture_output=True, text=True, check=True)
    return run.stdout + run.stderr


def commit(repo: dr.Repo, text: str) -> bytes:
    """Commit a file through dulwich's porcelain."""
    path = os.path.join(repo.path, "notes.txt")
    with open(path, "a") as file:
        file.write(text + "\n")
    porcelain.add(repo, [path])
    return porcelain.commit(repo, message=text.encode(), author=ME, committer=ME)


def main(path: str) -> None:
    """Go through the main things."""
    made_by_git = git("init", "-q", "--ref-format=reftable", "-b", "main", path) is not None
    if made_by_git:
        repo = dr.Repo(path)
    else:
        repo = dr.Repo.init(path, mkdir=True, default_branch=b"main")
    print(f"made by {'git' if made_by_git else 'dulwich-reftable'}: {path}")

    first = commit(repo, "first")
    second = commit(repo, "second")
    porcelain.tag_create(repo, b"v1.0", message=b"one", annotated=True, author=ME, objectish=first)
    print("\nafter two commits and a tag:")
    for name, value in repo.refs.iter_refs():
        print(f"  {value.decode():<48} {name.decode()}")

    # Many refs in one transaction: one table, all or nothing.
    refs = repo.refs
    with refs.transaction(message=b"import", committer=ME) as tx:
        for n in range(1000):
            tx.create(b"refs/changes/%02d/%d/1" % (n % 100, n), first)
    with refs.transaction(message=b"move", committer=ME) as tx:
        for n in range(0, 1000, 2):
            tx.update(b"refs/changes/%02d/%d/1" % (n % 100, n), second, old=first)
        tx.set_symbolic_ref(b"refs/changes/newest", b"refs/changes/98/998/1")
    print(f"\nchanges now: {len(refs.keys(base=b'refs/changes'))}")
    print(f"pointing to the second commit: {len(refs.refs_for_object(second))}")

    # Two people saw the same value; one of them is late.
    print("\ncompare and swap:")
    print("  first to move the branch:", refs.set_if_equals(b"refs/heads/race", None, first))
    print("  with the right old value:", refs.set_if_equals(b"refs/heads/race", first, second))
    print("  with a stale old value:  ", refs.set_if_equals(b"refs/heads/race", first, second))
    try:
        with refs.transaction() as tx:
            tx.create(b"refs/heads/never", first)
            tx.update(b"refs/heads/race", first, old=first)
    except dr.TransactionError as error:
        print(f"  a transaction: {error}")
    print("  its other half was not done:", b"refs/heads/never" not in refs)

    print("\nreflog of HEAD, newest first:")
    for entry in refs.read_reflog(b"HEAD", newest_first=True):
        print(f"  {entry.new_sha[:7].decode()} {entry.message.decode()}")

    print("\non disk:")
    snapshot = Stack(DirectoryStorage(os.path.join(repo.controldir(), "reftable"))).snapshot()
    for table in snapshot.tables:
        names = [name for chunk, _ in table.ref_records() for name in chunk]
        logs = sum(len(chunk) for chunk, _ in table.log_records())
        print(
            f"  {os.path.basename(table.filename)}  version {table.version}, {table.size} bytes, "
            f"{len(names)} refs, {logs} log records, "
            f"update indexes {table.min_update_index}-{table.max_update_index}"
        )
    print("  problems found:", len(refs.verify()))

    seen = git("-C", path, "for-each-ref", "--format=%(refname)")
    if seen is None:
        print("\nno git that knows reftable is here to look at it")
    else:
        print(f"\ngit sees {len(seen.split())} refs; git fsck says: {git('-C', path, 'fsck')!r}")
    repo.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(os.path.join(directory, "demo"))
