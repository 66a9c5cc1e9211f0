"""Many clients that push to one repository for a while: is what they are told true?

Run it from the project's directory::

    python -m tests.soak.pushes --seconds 60

The repository is served by two processes, one over TCP and one over HTTP; git's own server works on
it, too, for those who push to its path. The clients are git: each fetches, commits on top of
``main``, and pushes that to ``main`` and to a branch that is new, every other time atomically.
Afterwards every answer is compared with the refs, the history and the reflog. The exit status is 0
if all were true.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.pushing import push, refs_of
from support.git import Git


@dataclass
class Client:
    """One client, and what it was told.

    Attributes:
      git: its clone
      way: how it reaches the repository
      url: the same as an address
      done, refused: the branches of its own that were made or not, and what they were to be
      won: its commits that became ``main``
      told: how often it heard what of ``main``
      wrong: answers that contradict themselves
    """

    git: Git
    way: str
    url: str
    done: dict[bytes, bytes] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)
    won: list[bytes] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def work(self, until: float) -> None:
        """Push until it is time to stop."""
        turn = 0
        while time.monotonic() < until:
            turn += 1
            self.git.run("fetch", "-q", self.url, "+main:refs/remotes/main")
            self.git.run("reset", "-q", "--soft", "refs/remotes/main")
            self.git.run("commit", "-q", "--allow-empty", "-m", f"{self.git.path.name} {turn}")
            self._push(f"{self.git.path.name}-{turn}", atomic=turn % 2 == 0)

    def _push(self, name: str, *, atomic: bool) -> None:
        flags = ["--atomic"] if atomic else []
        code, told, said = push(self.git, *flags, self.url, "HEAD:main", f"HEAD:refs/heads/{name}")
        tip = self.git.run("rev-parse", "HEAD").strip()
        ref = f"refs/heads/{name}"
        won, made = (told.get(one, "!")[0] != "!" for one in ("refs/heads/main", ref))
        self.told[told.get("refs/heads/main", "no answer")] += 1
        if won:
            self.won.append(tip)
        if made:
            self.done[ref.encode()] = tip
        else:
            self.refused.add(ref.encode())
        if (code == 0) != (won and made) or (atomic and won != made):
            self.wrong.append(f"{name}: exit {code}: {told}: {said}")


@contextmanager
def served(root: Path, *flags: str) -> Iterator[str]:
    """Serve a folder from another process; gives the address."""
    with server_process(root, *flags) as (url, _):
        yield url


@contextmanager
def server_process(
    root: Path, *flags: str, start: Sequence[str] = ("-m", "dulwich_reftable")
) -> Iterator[tuple[str, int]]:
    """Serve a folder from another process, started so; gives the address and the process."""
    command = [*start, "serve", "--port", "0", "--quiet", "--enable=receive-pack"]
    command += [*flags, str(root)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def falsehoods(origin: Git, clients: Sequence[Client]) -> list[str]:
    """Compare what clients were told with what is there."""
    wrong = [text for client in clients for text in client.wrong]
    refs = refs_of(origin)
    for client in clients:
        for name, tip in client.done.items():
            if refs.get(name) != tip:
                wrong.append(f"{name!r} was acknowledged as {tip!r} and is {refs.get(name)!r}")
        wrong += [f"{name!r} was refused and exists" for name in client.refused if name in refs]
    won = {tip for client in clients for tip in client.won}
    history = origin.run("rev-list", "--first-parent", "main").split()[:-1]
    if won != set(history):
        wrong.append(f"main has {len(history)} commits, {len(won)} were acknowledged")
    if (origin.path / "reftable").is_dir():
        logged = [entry.new for entry in origin.reflogs()[b"refs/heads/main"]]
        if logged != history[::-1]:
            wrong.append("the reflog of main is another history")
    complaints = origin.complaints()
    return [*wrong, complaints.decode()] if complaints else wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--clients", type=int, default=2, help="how many by each way (2)")
    parser.add_argument("--ref-format", choices=("reftable", "files"), default="reftable")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        origin = Git.init(root / "origin.git", bare=True, ref_format=options.ref_format)
        tree = origin.run("hash-object", "-w", "-t", "tree", "--stdin").strip()
        first = origin.run("commit-tree", "-m", "first", tree).strip()
        origin.run("update-ref", "refs/heads/main", first)
        origin.run("config", "core.logAllRefUpdates", "true")
        with served(root) as tcp, served(root, "--http") as http:
            ways = {
                "tcp": tcp + "origin.git",
                "http": http + "origin.git",
                "git": str(origin.path),
            }
            clients = [
                Client(Git.init(Path(scratch, f"{way}{number}")), way, url)
                for way, url in ways.items()
                for number in range(options.clients)
            ]
            until = time.monotonic() + options.seconds
            threads = [threading.Thread(target=client.work, args=(until,)) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        wrong = falsehoods(origin, clients)
        for way in ways:
            heard = sum((client.told for client in clients if client.way == way), Counter[str]())
            print(f"{way:>5}: " + ", ".join(f"{n} x {what!r}" for what, n in heard.most_common()))
    for text in wrong:
        print("WRONG:", text)
    print(f"falsehoods: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
