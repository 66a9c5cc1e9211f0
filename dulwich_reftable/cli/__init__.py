# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The command ``dulwich-reftable``.

Each subcommand has a module of its own here, imported when it is asked for: its ``add_arguments``
tells argparse what it takes, its ``run`` does it and gives the exit code. 0 is success, 1 a "no" or
a failure, which is told on stderr, 2 a wrong use of the command, which argparse tells.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dulwich.errors import NotGitRepository
from dulwich.repo import InvalidUserIdentity, UnsupportedExtension, UnsupportedVersion

from ..engine.errors import ReftableError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "clean": "remove the files that dead writers left",
    "compact": "merge the tables of each stack into one",
    "dump": "show what is in a table, byte by byte",
    "init": "make a repository",
    "migrate": "move a repository from one ref format to the other",
    "reflog": "show and change reflogs",
    "serve": "serve a folder of repositories, over git:// or smart HTTP",
    "show-ref": "list refs",
    "stats": "show sizes, and what compaction would gain",
    "update-ref": "update refs, all or nothing",
    "verify": "look for damage",
    "dulwich": "run dulwich's own command line, reftable repositories included",
}
"""The subcommands, and what each does; a dash in a name is an underscore in its module's."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
      args: its arguments; None for those of the process
    Returns: exit code
    """
    args = sys.argv[1:] if args is None else args
    parser = _parser(args[0] if args else "")
    parsed = parser.parse_args(args)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except NotGitRepository as error:
        message = f"not a git repository: {error}"
    except (UnsupportedExtension, UnsupportedVersion) as error:
        message = f"repository of an unknown format: {error}"
    except InvalidUserIdentity as error:
        message = f"not an identity: {str(error)!r}"
    except (ReftableError, OSError, ValueError) as error:
        message = str(error)
    print(f"{parser.prog}: {message}", file=sys.stderr)
    return 1


def _parser(command: str) -> argparse.ArgumentParser:
    """Make the parser; of the subcommands, only ``command`` gets its arguments."""
    parser = argparse.ArgumentParser(
        prog="dulwich-reftable", description="Work with git repositories in the reftable format."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name == "dulwich":
            # Without options of its own, so that all of the rest goes to dulwich.
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
