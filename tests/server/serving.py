"""Serve a folder from the process of the tests."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dulwich_reftable.server import HANDLERS, Access, Folder, GitServer, HTTPGitServer, Server
from dulwich_reftable.server.handlers import Handlers

EVERYBODY = Access(enable=["receive-pack"])
Start = Callable[..., tuple[subprocess.Popen[bytes], str]]
"""Starts a server in a process of its own; gives the process and the address."""

KINDS = {"tcp": GitServer, "http": HTTPGitServer}


WAITING_HOOK = """#!/bin/sh
touch "$GIT_DIR/begun"
left=2000
while test ! -e "$GIT_DIR/go" && test $((left -= 1)) -gt 0; do sleep 0.01; done
"""
"""A hook that waits for the test."""


@contextmanager
def running(
    root: Path,
    kind: str,
    *,
    create: bool = False,
    handlers: Handlers = HANDLERS,
    access: Access | None = EVERYBODY,
) -> Iterator[Server]:
    """Run a server at any free port; everybody may push."""
    server: Server = KINDS[kind](Folder(root, create=create), "127.0.0.1", 0, handlers, access)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
