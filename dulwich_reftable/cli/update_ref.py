# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable update-ref``: update one ref, or those that standard input names, as git does.

Reflogs follow git's rules here, not dulwich's: an entry needs no message, and which refs start a
reflog is up to ``core.logAllRefUpdates``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache

from dulwich.config import Config
from dulwich.objects import Commit

from ..compat import approximate_time, hex_size_of
from ..config.values import find_reflog_policy
from ..engine.errors import ReftableError
from ..naming.names import is_logged_by_default
from ..naming.symrefs import is_symref
from ..refs.container import ReftableRefsContainer
from ..refs.signature import Signature
from ..refs.transaction import is_zero
from ..repo.hook_scripts import HookScripts
from .repository import AnyRepo, add_directory, object_id, opened
from .stores import store_options
from .update_commands import Commands
from .update_hooks import HookedTransaction
from .update_words import read_lines, read_strings

__all__ = ["add_arguments", "run"]

_DATE = re.compile(r"@?(\d+) ([-+])(\d\d)(\d\d)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [OPTION ...] REF NEW [OLD]\n"
        "       %(prog)s [OPTION ...] -d REF [OLD]\n"
        "       %(prog)s [OPTION ...] --stdin [-z]"
    )
    parser.epilog = (
        "With --stdin, the commands are those of git update-ref --stdin: update, create, delete, "
        "verify, symref-update, symref-create, symref-delete, symref-verify, option no-deref, "
        "start, prepare, commit and abort. Without a start, all of them are one transaction."
    )
    add_directory(parser)
    parser.add_argument("-m", dest="message", metavar="MESSAGE", help="for the reflogs")
    parser.add_argument("-d", dest="delete", action="store_true", help="delete the ref")
    parser.add_argument(
        "--no-deref", action="store_true", help="update REF itself, not the ref that it points to"
    )
    parser.add_argument(
        "--create-reflog", action="store_true", help="start reflogs, regardless of the settings"
    )
    parser.add_argument("--stdin", action="store_true", help="read commands from standard input")
    parser.add_argument("-z", dest="nul", action="store_true", help="the commands end in NUL bytes")
    parser.add_argument("arguments", nargs="*", metavar="REF NEW OLD")
    parser.set_defaults(wrong_use=parser.error)


def run(parsed: argparse.Namespace) -> int:
    given = len(parsed.arguments)
    if parsed.stdin:
        if given or parsed.delete:
            parsed.wrong_use("--stdin takes no REF")
    elif parsed.nul:
        parsed.wrong_use("-z needs --stdin")
    elif not 1 + (not parsed.delete) <= given <= 2 + (not parsed.delete):
        parsed.wrong_use("a REF and its NEW object are needed, or -d and a REF")
    if parsed.message == "":
        raise ReftableError("refusing to update with an empty message")
    if "GIT_QUARANTINE_PATH" in os.environ:
        raise ReftableError("refs cannot be updated before the objects of a push are accepted")
    with opened(directory=parsed.directory, options=store_options(parsed)) as (repo, refs):
        commands = Commands(
            begin=_transactions(repo, refs, parsed),
            resolve=lambda name: object_id(repo, name),
            check=_object_check(repo),
            hex_size=hex_size_of(repo),
            follow=not parsed.no_deref,
            reply=lambda text: print(text, flush=True),
        )
        if not parsed.stdin:
            commands.run_one(*_command(parsed, b"0" * hex_size_of(repo)))
        elif parsed.nul:
            commands.run(read_strings(sys.stdin.buffer), b"\0")
        else:
            commands.run(read_lines(sys.stdin.buffer), b"\n")
    return 0


def _command(parsed: argparse.Namespace, zero: bytes) -> tuple[bytes, list[bytes]]:
    """Translate the arguments to a command of ``--stdin`` and its arguments."""
    ref, *ids = (os.fsencode(argument) for argument in parsed.arguments)
    if parsed.delete:
        # An empty old id and the zero id both mean "any value" here, as in git.
        return b"delete", [ref, *(old for old in ids if not is_zero(old)), b""][:2]
    if not ids[0]:
        raise ReftableError("the new object id is empty")
    # An empty old id means that the ref must not exist.
    return b"update", [ref, ids[0], *(old or zero for old in ids[1:]), b""][:3]


def _transactions(
    repo: AnyRepo, refs: ReftableRefsContainer, parsed: argparse.Namespace
) -> Callable[[], HookedTransaction]:
    """Make a function that begins transactions, which log and run the hook as in git."""
    config = repo.get_config_stack()
    policy = _policy(config, repo.bare)
    hooks = HookScripts(repo, config, _say, directory=os.path.abspath(repo.path))
    message = os.fsencode(parsed.message or "")

    def begin() -> HookedTransaction:
        when, zone = _now()
        signature = Signature.of(refs.store, message, None, when, zone)
        return HookedTransaction(
            refs, hooks, signature, (lambda name: True) if parsed.create_reflog else policy
        )

    return begin


def _say(said: bytes) -> None:
    """Print the output of a hook."""
    sys.stderr.write(said.decode(errors="backslashreplace"))


def _policy(config: Config, is_bare: bool) -> Callable[[bytes], bool]:
    """Make a function that tells which refs start a reflog (``should_autocreate_reflog``)."""
    setting = find_reflog_policy(config) or ("none" if is_bare else "normal")
    if setting == "always":
        return lambda name: True
    if setting == "none":
        return lambda name: False
    return is_logged_by_default


def _now() -> tuple[int | None, int | None]:
    """Read time and zone from ``GIT_COMMITTER_DATE``; None for those of the clock."""
    text = os.environ.get("GIT_COMMITTER_DATE")
    if not text:
        return None, None
    raw = _DATE.fullmatch(text.strip())
    if raw is None:
        return approximate_time(text), None
    zone = int(raw[3]) * 3600 + int(raw[4]) * 60
    return int(raw[1]), -zone if raw[2] == "-" else zone


def _object_check(repo: AnyRepo) -> Callable[[bytes, bytes], None]:
    """Make a function that takes a ref and its new value, and raises where git refuses it.

    Git refuses objects that do not exist, and branches that do not point to commits.
    """

    @lru_cache(maxsize=1 << 16)
    def type_of(oid: bytes) -> int | None:
        try:
            return repo.object_store.get_raw(oid)[0]  # type: ignore[arg-type]
        except KeyError:
            return None

    def check(ref: bytes, new: bytes) -> None:
        if is_symref(new):
            return
        found = type_of(new)
        if found is None:
            message = f"there is no object {new.decode()}"
        elif found != Commit.type_num and (ref == b"HEAD" or ref.startswith(b"refs/heads/")):
            message = f"object {new.decode()} is no commit"
        else:
            return
        raise ReftableError(f"cannot update ref '{os.fsdecode(ref)}': {message}")

    return check
