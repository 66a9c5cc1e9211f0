# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The command ``dulwich-reftable``.

Each subcommand has a module here, which is imported when the subcommand is used. Its
``add_arguments`` adds its arguments to an argparse parser; its ``run`` takes the parsed arguments,
does the work, and returns the exit code: 0 for success, 1 for a "no" or for a failure, which is
printed to stderr. argparse reports wrong arguments with exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dulwich.errors import ChecksumMismatch, NotGitRepository
from dulwich.repo import InvalidUserIdentity, UnsupportedExtension, UnsupportedVersion

from ..engine.errors import ReftableError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "clean": "remove stale files that dead writers left",
    "compact": "merge the tables of each stack into one",
    "copy": "copy a repository whole, between directories and object stores",
    "disable": "undo enable",
    "dump": "show what is in a table, byte by byte",
    "enable": "let all programs of a Python environment handle reftable repositories",
    "gc": "merge packs in an object store, and remove what nothing needs",
    "init": "make a repository",
    "migrate": "move a repository from one ref format to the other",
    "reflog": "show and change reflogs",
    "serve": "serve a folder of repositories, over git:// or smart HTTP",
    "shell": "serve one request over SSH, as a forced command of sshd",
    "show-ref": "list refs",
    "stats": "show sizes, and what compaction would gain",
    "status": "show where enable was used, and what it does",
    "update-ref": "update refs, all or nothing",
    "verify": "look for damage",
    "dulwich": "run dulwich's own command line, reftable repositories included",
}
"""The subcommands and their summaries; a dash in a name is an underscore in the module's name."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      args: the command's arguments; None for those of the process
    Returns: the exit code
    """
    args = sys.argv[1:] if args is None else args
    parser = _parser(args[0] if args else "")
    parsed = parser.parse_args(args)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has closed the pipe. Python would report that again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except NotGitRepository as error:
        message = f"not a git repository: {error}"
    except (UnsupportedExtension, UnsupportedVersion) as error:
        message = f"repository of an unknown format: {error}"
    except InvalidUserIdentity as error:
        message = f"not an identity: {str(error)!r}"
    except (ChecksumMismatch, ReftableError, OSError, ValueError) as error:
        message = str(error)
    print(f"{parser.prog}: {message}", file=sys.stderr)
    return 1


def _parser(command: str) -> argparse.ArgumentParser:
    """Make the parser; only the subcommand ``command`` gets its arguments."""
    parser = argparse.ArgumentParser(
        prog="dulwich-reftable", description="Work with git repositories in the reftable format."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name == "dulwich":
            # It has no options, so that all further arguments go to dulwich.
            added = commands.add_parser(name, help=summary, add_help=False, prefix_chars="\0")
        else:
            added = commands.add_parser(
                name, help=summary, description=summary[0].upper() + summary[1:] + "."
            )
        if name == command:
            module = import_module(f".{name.replace('-', '_')}", __name__)
            module.add_arguments(added)
            added.set_defaults(run=module.run)
    return parser
