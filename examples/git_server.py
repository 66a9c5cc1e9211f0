"""A git server that is part of a program: a folder of repositories over HTTP, with rules in Python.

    python examples/git_server.py FOLDER [PORT]

The first push to http://127.0.0.1:8000/NAME.git makes the repository, on reftables. Tags, once
pushed, stay as they are. Everybody who reaches the address may push; without ``Access(enable=...)``
nobody may. ``dulwich-reftable serve`` does the same without rules of one's own.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from dulwich.errors import HookError
from dulwich.hooks import Hook

from dulwich_reftable.server import HANDLERS, Access, Folder, HTTPGitServer, ReceivePackHandler, run


class TagsStay(Hook):
    """An ``update`` hook."""

    def execute(self, *args: Any) -> tuple[bytes, bytes]:
        """Look at one ref of a push.

        Returns: what to show to the client's user, on stdout and stderr
        Raises:
          HookError: to decline
        """
        ref, old, _new = args
        if ref.startswith(b"refs/tags/") and old.strip(b"0"):
            raise HookError(f"{ref.decode()} is published, and stays as it is")
        return b"", b""


class Receiver(ReceivePackHandler):
    """Serves pushes, by our rules beside the repository's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        repo: Any = self.repo
        repo.hooks["update"] = TagsStay()


def main(root: str, port: str = "8000") -> None:
    """Serve until the process is interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("dulwich").setLevel(logging.WARNING)
    handlers = {**HANDLERS, b"git-receive-pack": Receiver}
    access = Access(enable=["receive-pack"])
    server = HTTPGitServer(Folder(root, create=True), "127.0.0.1", int(port), handlers, access)
    print(f"serving {root} at {server.url}", flush=True)
    run(server)


if __name__ == "__main__":
    main(*sys.argv[1:])
