# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable serve``: serve a folder of repositories, over ``git://`` or smart HTTP."""

from __future__ import annotations

import argparse
import logging

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell what the command takes."""
    parser.epilog = (
        "Everything below ROOT can be fetched, and be pushed to, by everybody who reaches the "
        "address: there are no passwords. It ends on SIGINT and SIGTERM."
    )
    parser.add_argument("root", metavar="ROOT", help="folder of the repositories")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=int, help="port to listen at, 0 for any (9418, with --http 8000)"
    )
    parser.add_argument("--http", action="store_true", help="serve smart HTTP rather than git://")
    parser.add_argument(
        "--create",
        action="store_true",
        help="let a push to a repository that does not exist make one, bare and on reftables",
    )
    parser.add_argument("--read-only", action="store_true", help="refuse pushes")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS",
        help="hang up on a client that says nothing for so long (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="log nothing but warnings")


def run(parsed: argparse.Namespace) -> int:
    """Run the command."""
    from ..server import HANDLERS, Folder, GitServer, HTTPGitServer, Server, run

    logging.basicConfig(
        level=logging.WARNING if parsed.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
    )
    # What dulwich logs of every request says less than our line.
    logging.getLogger("dulwich").setLevel(logging.WARNING)
    handlers = dict(HANDLERS)
    if parsed.read_only:
        del handlers[b"git-receive-pack"]
    folder = Folder(parsed.root, create=parsed.create)
    kind, port = (HTTPGitServer, 8000) if parsed.http else (GitServer, 9418)
    server: Server = kind(
        folder, parsed.host, port if parsed.port is None else parsed.port, handlers
    )
    server.idle_timeout = parsed.timeout
    print(f"serving {folder.root} at {server.url}", flush=True)
    run(server)
    return 0
