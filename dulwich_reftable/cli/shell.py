# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable shell``: serve one request over SSH, as a forced command of sshd."""

from __future__ import annotations

import argparse
import logging
import os
import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'In authorized_keys: command="dulwich-reftable shell --root DIR --user NAME",restrict '
        "KEY. The client's command is taken from SSH_ORIGINAL_COMMAND; only fetches and pushes of "
        "repositories below DIR are served. sshd passes GIT_PROTOCOL on if its configuration has "
        "AcceptEnv GIT_PROTOCOL."
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the repositories")
    parser.add_argument("--user", metavar="NAME", help="user that the rules and hooks see")
    parser.add_argument("--rules", metavar="FILE", help="TOML file of rules; without it all is on")
    parser.add_argument("--read-only", action="store_true", help="refuse all pushes")
    parser.add_argument(
        "--create", action="store_true", help="a push to a repository that does not exist makes it"
    )


def run(parsed: argparse.Namespace) -> int:
    from ..server import Folder
    from ..server.rules import RulesFile
    from ..server.transport.shell import serve_command

    # Standard error is what the client's user sees; our log would be noise there.
    logging.getLogger("dulwich").addHandler(logging.NullHandler())
    logging.getLogger("dulwich_reftable").addHandler(logging.NullHandler())
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    if not command:
        print("fatal: interactive login is not possible here", file=sys.stderr)
        return 128
    return serve_command(
        Folder(parsed.root, create=parsed.create),
        command,
        sys.stdin.buffer,
        sys.stdout.buffer,
        lambda text: print(text, file=sys.stderr),
        user=parsed.user,
        environ=os.environ,
        authorize=RulesFile(parsed.rules) if parsed.rules else None,
        read_only=parsed.read_only,
    )
