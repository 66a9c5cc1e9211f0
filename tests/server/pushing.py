"""Push with the real git, and look at what a push leaves behind."""

from __future__ import annotations

import re

from support.git import Git


def push(git: Git, *args: str) -> tuple[int, dict[str, str], str]:
    """Push; gives the exit code, what became of each ref, and all that was said.

    A ref's outcome is git's letter (``=``, ``*``, `` ``, ``+``, ``-``, ``!``), and behind ``!`` the
    reason.
    """
    options = 2 if args[0] == "-c" else 0
    command = [*args[:options], "push", "--porcelain", *args[options:]]
    done = git.start(command, b"", None)
    outcomes = {}
    for line in done.stdout.decode().splitlines():
        if "\t" in line:
            letter, refs, summary = line.split("\t", 2)
            reason = re.search(r"\((.*)\)$", summary)
            outcomes[refs.rpartition(":")[2]] = letter + (
                reason[1] if letter == "!" and reason else ""
            )
    return done.returncode, outcomes, done.stderr.decode()


def refs_of(git: Git) -> dict[bytes, bytes]:
    """The refs below refs/."""
    return {n: r.value for n, r in git.for_each_ref().items() if n.startswith(b"refs/")}


def tables(git: Git) -> int:
    """How many tables there are; nothing for files."""
    names = git.path / "reftable" / "tables.list"
    return len(names.read_text().split()) if names.exists() else 0
