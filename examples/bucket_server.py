# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Two git servers without a disk of their own, on one bucket; nothing is shared but the bucket.

    python examples/bucket_server.py [URL]

Without a URL, the bucket is in memory, which needs no account; both servers are in this process
then, as they are with a URL such as ``s3://bucket/new-folder``. Credentials come from the
environment. What is made below the URL stays there.

A program clones from one server what it has pushed to the other. Then two programs push different
commits to one branch at the same moment, one to each server: one wins, and the other is told so.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

from dulwich import porcelain
from dulwich.client import get_transport_and_path
from dulwich.repo import Repo

from dulwich_reftable.server import Access, BucketFolder, HTTPGitServer

MAIN = b"refs/heads/main"
ME = b"Ada <ada@example.com>"


@contextmanager
def serving(place: str) -> Iterator[str]:
    """Serve a folder of repositories in a bucket; gives the URL of the server."""
    folder = BucketFolder(place, create=True)
    access = Access(enable=["receive-pack"])  # everybody who reaches the address may push
    server = HTTPGitServer(folder, "127.0.0.1", 0, access=access)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.url.rstrip("/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        folder.close()


def commit(repo: Repo, text: str) -> bytes:
    """Commit a file."""
    path = os.path.join(repo.path, "notes.txt")
    with open(path, "a") as file:
        file.write(text + "\n")
    porcelain.add(repo, [path])
    return porcelain.commit(repo, message=text.encode(), author=ME, committer=ME)


def push(repo: Repo, url: str, barrier: threading.Barrier | None = None) -> str:
    """Push main; gives what the server says of it.

    Args:
      repo: has the commit
      url: of the repository at the server
      barrier: where to wait for others after the server has told its refs
    """
    client, path = get_transport_and_path(url)

    def update(refs: Any) -> Any:
        if barrier is not None:
            barrier.wait(30)
        return {MAIN: repo.refs[MAIN]}

    result = client.send_pack(path, update, repo.generate_pack_data, progress=lambda data: None)
    error = (result.ref_status or {}).get(MAIN)
    return f"rejected: {error}" if error else "accepted"


def main(place: str = "memory://example/forge") -> None:
    """Go through the main things."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(serving(place)) + "/demo.git" for _ in range(2))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        print(f"{place} is served twice")

        mine = Repo.init(os.path.join(folder, "mine"), mkdir=True, default_branch=b"main")
        stack.callback(mine.close)
        first = commit(mine, "first")
        print("push to the first server, which makes the repository:", push(mine, one))

        target = os.path.join(folder, "yours")
        yours = porcelain.clone(other, target, errstream=BytesIO())
        stack.callback(yours.close)
        print("clone from the second one has the commit:", yours.refs[MAIN] == first)

        commit(mine, "mine")
        commit(yours, "yours")
        barrier = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            pushes = [
                pool.submit(push, repo, url, barrier) for repo, url in ((mine, one), (yours, other))
            ]
            told = [job.result() for job in pushes]
        for server, words in zip(("first", "second"), told, strict=True):
            print(f"a push to the {server} server, at the same moment: {words}")
        winner = (mine, yours)[told.index("accepted")]
        shown = [porcelain.ls_remote(url).refs[MAIN] for url in (one, other)]
        print("both servers show the winner's commit:", shown == [winner.refs[MAIN]] * 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
