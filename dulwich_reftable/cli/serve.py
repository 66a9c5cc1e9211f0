# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable serve``: serve a folder of repositories, over ``git://`` or smart HTTP."""

from __future__ import annotations

import argparse
import logging

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell what the command takes."""
    parser.epilog = (
        "Everything below ROOT can be fetched by everybody who reaches the address: there are no "
        "passwords. Pushing is off until --enable or a repository's daemon.receivePack (with "
        "--http: http.receivePack) turns it on. Repositories of other users are not served, unless "
        "safe.directory names them. The server ends on SIGINT and SIGTERM."
    )
    parser.add_argument("root", metavar="ROOT", help="folder of the repositories")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=int, help="port to listen at, 0 for any (9418, with --http 8000)"
    )
    parser.add_argument("--http", action="store_true", help="serve smart HTTP rather than git://")
    services = ("upload-pack", "receive-pack")
    for option, what in (
        ("--enable", "turn on a service, unless a repository turns it off"),
        ("--disable", "turn off a service, unless a repository turns it on"),
        ("--forbid-override", "do not let repositories turn a service on or off"),
    ):
        parser.add_argument(option, action="append", choices=services, default=[], help=what)
    parser.add_argument(
        "--create",
        action="store_true",
        help="let the first push to a repository that does not exist make it, bare and on "
        "reftables; implies --enable=receive-pack",
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="refuse all pushes: --disable and --forbid-override for receive-pack",
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS",
        help="hang up on a client that does not say what it wants, says nothing, or sends next to "
        "nothing for so long (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-connections", type=int, default=256, metavar="NUMBER",
        help="serve so many clients at a time (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="log nothing but warnings")


def run(parsed: argparse.Namespace) -> int:
    """Run the command."""
    from ..server import HANDLERS, Access, Folder, GitServer, HTTPGitServer, Server, run

    logging.basicConfig(
        level=logging.WARNING if parsed.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
    )
    # What dulwich logs of every request says less than our line.
    logging.getLogger("dulwich").setLevel(logging.WARNING)
    push = ["receive-pack"]
    access = Access(
        enable=parsed.enable + push * parsed.create,
        disable=parsed.disable + push * parsed.read_only,
        forbid_override=parsed.forbid_override + push * parsed.read_only,
    )
    folder = Folder(parsed.root, create=parsed.create)
    kind, port = (HTTPGitServer, 8000) if parsed.http else (GitServer, 9418)
    server: Server = kind(
        folder, parsed.host, port if parsed.port is None else parsed.port, HANDLERS, access
    )
    server.idle_timeout = parsed.timeout
    server.max_connections = parsed.max_connections
    print(f"serving {folder.root} at {server.url}")
    print(access.describe(server.section), flush=True)
    run(server)
    return 0
