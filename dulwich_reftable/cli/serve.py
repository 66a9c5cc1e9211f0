# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable serve``: serve a folder of repositories, over ``git://`` or smart HTTP."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .option_types import address, count, port, positive
from .stores import add_store_options, is_store_url, local_cache, store_options

if TYPE_CHECKING:
    from ..server.folder import AnyFolder

__all__ = ["add_arguments", "run"]


_LIMITS: tuple[tuple[str, Callable[[str], float], str, str], ...] = (
    (
        "--max-per-address",
        count,
        "NUMBER",
        "serve at most so many clients of one address (IPv6: of one /64) at a time, about; no "
        "limit by default, since clients behind a proxy share its address",
    ),
    (
        "--rate",
        positive,
        "NUMBER",
        "turn an address away that makes more requests a second on average, over ten seconds, "
        "about; no limit by default",
    ),
    (
        "--deadline",
        positive,
        "SECONDS",
        "refuse to go on with a request that takes longer; a push that is complete is not stopped "
        "(no limit by default)",
    ),
    (
        "--worker-memory",
        count,
        "MB",
        "let a worker allocate at most so much; one that needs more is replaced (no limit by "
        "default; only on Linux)",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without --rules, everybody who reaches the address can fetch everything below ROOT. "
        "Pushing is off until --enable or a repository's daemon.receivePack (with "
        "--http: http.receivePack) turns it on. Repositories of other users are served only if "
        "safe.directory names them. The server ends on SIGINT and SIGTERM; on SIGHUP new workers "
        "start, and the old ones finish their requests."
    )
    parser.add_argument(
        "root",
        metavar="ROOT",
        help="folder of the repositories, or a URL such as s3://bucket/prefix",
    )
    add_store_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=port, help="port to listen at, 0 for any (9418, with --http 8000)"
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
        help="create a bare reftable repository when somebody pushes to one that does not exist; "
        "implies --enable=receive-pack",
    )
    parser.add_argument(
        "--export-ok",
        action="store_true",
        help="serve only repositories that hold the file git-daemon-export-ok, as git daemon does; "
        "not with --create or an object store",
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="refuse all pushes: --disable and --forbid-override for receive-pack",
    )
    parser.add_argument(
        "--htpasswd", metavar="FILE",
        help="with --http: users who may push, and bcrypt hashes of their passwords (htpasswd -B)",
    )  # fmt: skip
    parser.add_argument(
        "--rules", metavar="FILE",
        help="TOML file that says who may use which repository; what it does not grant is denied",
    )  # fmt: skip
    parser.add_argument(
        "--trust-proxy", action="store_true",
        help="with --http: take the address of a client from X-Forwarded-For, as the proxy before "
        "this server has written it",
    )  # fmt: skip
    parser.add_argument(
        "--proxies", type=count, metavar="NUMBER",
        help="with --trust-proxy: how many proxies there are, each of which adds an address to "
        "X-Forwarded-For; the one that the first proxy adds counts (1)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=positive, default=60.0, metavar="SECONDS",
        help="close a connection that makes no request, or sends nothing or next to nothing, for "
        "so long (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-connections", type=count, default=256, metavar="NUMBER",
        help="serve at most so many clients at a time (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=count, metavar="NUMBER",
        help="processes that serve; 1 for this one alone (by default as many as cores)",
    )  # fmt: skip
    for option, kind, name, what in _LIMITS:
        parser.add_argument(option, type=kind, metavar=name, help=what)
    parser.add_argument(
        "--metrics", type=address, metavar="HOST:PORT",
        help="serve counts for Prometheus at /metrics, and /healthz, at this address, without "
        "passwords",
    )  # fmt: skip
    parser.add_argument(
        "--log", choices=("text", "json"), default="text",
        help="form of the log: lines to read, or a line of JSON each (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="log only warnings")


def run(parsed: argparse.Namespace) -> int:
    from ..server import HANDLERS, Access, GitServer, HTTPGitServer, Server, run
    from ..server.passwords import PasswordFile
    from ..server.rules import RulesFile
    from ..server.transport.board import Board
    from ..server.transport.memory import give_back_memory
    from ..server.transport.metrics import Metrics
    from ..server.transport.requests import JSONFormatter
    from ..server.transport.workers import Supervisor, can_fork, cores, listen, seats_for

    if parsed.export_ok and (parsed.create or is_store_url(parsed.root)):
        print("serve: --export-ok goes with neither --create nor an object store", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=logging.WARNING if parsed.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
    )
    if parsed.log == "json":
        for log_handler in logging.getLogger().handlers:
            log_handler.setFormatter(JSONFormatter())
    # Our own log line says more than those that dulwich logs for each request.
    logging.getLogger("dulwich").setLevel(logging.WARNING)
    if not parsed.http and (parsed.htpasswd or parsed.trust_proxy):
        raise ValueError("--htpasswd and --trust-proxy need --http: git:// has no users")
    if parsed.proxies and not parsed.trust_proxy:
        raise ValueError("--proxies needs --trust-proxy")
    push = ["receive-pack"]
    access = Access(
        enable=parsed.enable + push * parsed.create,
        disable=parsed.disable + push * parsed.read_only,
        forbid_override=parsed.forbid_override + push * parsed.read_only,
        authorize=RulesFile(parsed.rules) if parsed.rules else None,
        check_password=PasswordFile(parsed.htpasswd) if parsed.htpasswd else None,
    )
    kind: type[GitServer] | type[HTTPGitServer]
    kind, usual = (HTTPGitServer, 8000) if parsed.http else (GitServer, 9418)
    workers = cores() if parsed.workers is None else parsed.workers
    if workers > 1 and not can_fork():
        logging.warning("workers need fork, which this system lacks: one process serves")
        workers = 1
    in_memory = is_store_url(parsed.root) and parsed.root.startswith("memory:")
    if in_memory:
        workers = 1  # the memory is that of one process
    # A worker that must not need too much is replaced, even if there is only one.
    limited = parsed.worker_memory is not None
    supervised = can_fork() and not in_memory and (workers > 1 or limited)
    if limited and not supervised:
        logging.warning("--worker-memory is ignored: there is no process that could be replaced")
    # Workers open the folder anew, after the fork; this is to find mistakes early.
    root = _folder(parsed, create=False).root
    listener = listen(parsed.host, usual if parsed.port is None else parsed.port)

    def make(listener: socket.socket) -> Server:
        folder = _folder(parsed, create=parsed.create)
        server: Server = kind(folder, handlers=HANDLERS, access=access, listener=listener)
        server.idle_timeout = parsed.timeout
        server.proxies = (parsed.proxies or 1) if parsed.trust_proxy else 0
        server.max_connections = -(-parsed.max_connections // workers)
        server.max_per_address = parsed.max_per_address
        server.rate = parsed.rate
        server.deadline = parsed.deadline
        return server

    give_back_memory()
    board = Board(seats_for(workers), parsed.max_connections)
    metrics = Metrics(*parsed.metrics) if parsed.metrics else None
    print(f"serving {root} at {kind.url_at(listener.getsockname())}")
    print(access.describe(kind.section), flush=True)
    if supervised:
        memory = parsed.worker_memory << 20 if limited else None
        supervisor = Supervisor(listener, make, workers, board, memory=memory, metrics=metrics)
        return supervisor.run()
    server = make(listener)
    seat = board.take()
    if seat is not None:
        server.seat = seat
    if metrics is not None:
        metrics.begin(board)
    run(server)
    logging.getLogger("dulwich_reftable.server").info("ended")
    return 0


def _folder(parsed: argparse.Namespace, *, create: bool) -> AnyFolder:
    """Open the folder of repositories."""
    from ..server import BucketFolder, Folder

    if not is_store_url(parsed.root):
        return Folder(parsed.root, create=create, export_ok=parsed.export_ok)
    options = store_options(parsed)
    return BucketFolder(parsed.root, create=create, cache=local_cache(), **options)
